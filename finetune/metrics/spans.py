"""Measure answers by exact match and F1 of their words, by the rules of SQuAD 2.0's scorer.

Answers are compared in lower case, without ASCII punctuation, without the articles a, an and the,
and with single blanks. With c the number of words that two answers share (the size of the multiset
intersection),

    precision = c / |predicted|    recall = c / |gold|    F1 = 2 c / (|predicted| + |gold|)

If an answer has no words left, F1 is 1 where both have none, and 0 otherwise. The gold answer with
the best score counts; a question without a gold answer is right if the predicted answer is empty.
(Rajpurkar et al. 2016, arXiv:1606.05250; 2018, arXiv:1806.03822)
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from plainformer.finetune.metrics.base import Metric, Mistake, Table, ratio

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
NOTHING = "(no answer)"


def normalised(answer: str) -> str:
    """Normalise an answer for comparison.

    >>> normalised("The  Cat's paw!")
    'cats paw'
    """
    bare = answer.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def exact_match(answer: str, gold: Sequence[str]) -> bool:
    """Tell whether the answer equals a gold answer, or is empty where there are none."""
    return normalised(answer) in (_comparable(gold) or [""])


def word_f1(answer: str, gold: Sequence[str]) -> float:
    """Compute the F1 of the words of the answer with the best gold answer."""
    said = normalised(answer).split()
    return max(_f1(said, right.split()) for right in _comparable(gold) or [""])


def _comparable(gold: Sequence[str]) -> list[str]:
    """Normalise the gold answers, and leave out the empty ones."""
    return [right for right in map(normalised, gold) if right]


def _f1(said: list[str], right: list[str]) -> float:
    if not said or not right:
        return float(said == right)
    return 2 * (Counter(said) & Counter(right)).total() / (len(said) + len(right))


@dataclass
class Tally:
    """Sums of scores over questions."""

    questions: int = 0
    exact: int = 0
    words: float = 0.0

    def add(self, exact: bool, f1: float) -> None:
        """Add the scores of one question."""
        self.questions += 1
        self.exact += exact
        self.words += f1

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.questions + other.questions, self.exact + other.exact, self.words + other.words
        )

    @property
    def exact_match(self) -> float:
        """Compute the fraction of questions with an exact match."""
        return ratio(self.exact, self.questions)

    @property
    def f1(self) -> float:
        """Compute the mean F1 of the words."""
        return ratio(self.words, self.questions)


class AnswerMetric(Metric):
    """Exact match and F1 of all questions, and of those with and without an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.answerable, self.unanswerable = Tally(), Tally()

    def add(
        self,
        gold: Sequence[str],
        predicted: str,
        confidence: float,
        source: str = "",
        text: str = "",
    ) -> None:
        """Add one question: its gold answers, which may be none, and the predicted answer."""
        exact = exact_match(predicted, gold)
        tally = self.answerable if gold else self.unanswerable
        tally.add(exact, word_f1(predicted, gold))
        self.count += 1
        if not exact:
            names = gold[0] if gold else NOTHING, predicted or NOTHING
            self.add_mistake(Mistake(confidence, source, text, *names))

    def scores(self) -> dict[str, float]:
        """Compute F1 and exact match, and those of each kind where questions are of both kinds.

        For a question without an answer, F1 and exact match are the same.
        """
        whole = self.answerable + self.unanswerable
        scores = {"f1": whole.f1, "exact_match": whole.exact_match}
        if self.answerable.questions and self.unanswerable.questions:
            scores |= {
                "has_answer_f1": self.answerable.f1,
                "has_answer_exact_match": self.answerable.exact_match,
                "no_answer_accuracy": self.unanswerable.exact_match,
            }
        return scores

    def tables(self) -> list[Table]:
        """Return the scores of questions with and without an answer."""
        kinds = {"with an answer": self.answerable, "without an answer": self.unanswerable}
        rows: list[list[str | float]] = [
            [kind, tally.questions, tally.f1, tally.exact_match]
            for kind, tally in kinds.items()
            if tally.questions
        ]
        return [Table("questions", ("questions", "number", "f1", "exact match"), rows)]
