"""How good answers are: exact match and F1 of their words, by the rules of SQuAD 2.0's scorer.

Answers are compared in lower case, without punctuation (ASCII's), without the articles a, an and
the, and with single blanks. With c the words that two answers share, each as often as in both,

    precision = c / |predicted|    recall = c / |gold|    F1 = 2 c / (|predicted| + |gold|)

Where either has no word left, F1 is whether both have none. A question counts by the best of its
gold answers; one without an answer is right when nothing is answered.
(Rajpurkar et al. 2016, arXiv:1606.05250; 2018, arXiv:1806.03822)
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from plainformer.corpora import Answer
from plainformer.finetune.metrics.base import Metric, Mistake, Table, share

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
NOTHING = "(no answer)"


@runtime_checkable
class Asked(Protocol):
    """A question with its right answers."""

    @property
    def answers(self) -> Sequence[Answer] | None:
        """The right answers; empty where there is none, None where they are not known."""

    @property
    def place(self) -> str:
        """File and line."""

    @property
    def question(self) -> str:
        """The question, without its passage."""


@runtime_checkable
class Answered(Protocol):
    """What was answered."""

    @property
    def answer(self) -> str:
        """A text, empty for no answer."""

    @property
    def score(self) -> float:
        """How sure it is, from 0 to 1."""


def normalised(answer: str) -> str:
    """The answer as it is compared.

    >>> normalised("The  Cat's paw!")
    'cats paw'
    """
    bare = answer.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def exact_match(answer: str, gold: Sequence[str]) -> bool:
    """Whether the answer is one of the gold ones; with none of these, whether it is empty."""
    return normalised(answer) in (_comparable(gold) or [""])


def word_f1(answer: str, gold: Sequence[str]) -> float:
    """The F1 of the words that the answer shares with the best of the gold ones."""
    said = normalised(answer).split()
    return max(_f1(said, right.split()) for right in _comparable(gold) or [""])


def _comparable(gold: Sequence[str]) -> list[str]:
    """The gold answers of which something is left to compare."""
    return [right for right in map(normalised, gold) if right]


def _f1(said: list[str], right: list[str]) -> float:
    if not said or not right:
        return float(said == right)
    return 2 * (Counter(said) & Counter(right)).total() / (len(said) + len(right))


@dataclass
class Tally:
    """Sums over questions of one kind."""

    questions: int = 0
    exact: int = 0
    words: float = 0.0

    def add(self, exact: bool, f1: float) -> None:
        """Count one question."""
        self.questions += 1
        self.exact += exact
        self.words += f1

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.questions + other.questions, self.exact + other.exact, self.words + other.words
        )

    @property
    def exact_match(self) -> float:
        """Share of the questions that are answered as one of the gold answers has it."""
        return share(self.exact, self.questions)

    @property
    def f1(self) -> float:
        """Mean F1 of the words."""
        return share(self.words, self.questions)


class AnswerMetric(Metric[Asked, Answered]):
    """Exact match and F1, of all questions, and of those with and without an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.answerable, self.unanswerable = Tally(), Tally()

    def add(self, example: Asked, prediction: Answered) -> None:
        """Count one question."""
        assert example.answers is not None
        gold = [answer.text for answer in example.answers]
        exact = exact_match(prediction.answer, gold)
        tally = self.answerable if gold else self.unanswerable
        tally.add(exact, word_f1(prediction.answer, gold))
        self.count += 1
        if not exact:
            true, said = gold[0] if gold else NOTHING, prediction.answer or NOTHING
            self.mistaken(Mistake(prediction.score, example.place, example.question, true, said))

    def scores(self) -> dict[str, float]:
        """F1 first; where there are questions with and without an answer, those of both kinds, too.

        Of a question without an answer F1 and exact match are the same.
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
        """The scores of questions with and without an answer."""
        kinds = {"with an answer": self.answerable, "without an answer": self.unanswerable}
        rows: list[list[str | float]] = [
            [kind, tally.questions, tally.f1, tally.exact_match]
            for kind, tally in kinds.items()
            if tally.questions
        ]
        return [Table("questions", ("questions", "number", "f1", "exact match"), rows)]
