"""Measure tagging: whole entities, or plain labels word by word.

An entity is right if its type, its first and its last word are right. With tp, fp, fn the true
positives, false positives and false negatives: precision = tp / (tp + fp), recall = tp / (tp + fn),
F1 = 2 tp / (2 tp + fp + fn), over all entities and for each type, and 0 / 0 is 0, as in `conlleval`
and seqeval. Plain labels have the same scores, with each word counted, as in scikit-learn.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any

from plainformer.finetune.data.example import known
from plainformer.finetune.metrics.base import Metric, Mistake, Table, ratio
from plainformer.finetune.tasks.tagging.iob import Span, iob2, spans
from plainformer.finetune.tasks.tagging.sentences import Sentence

NOTHING = ""
"""The counterpart of a missed or a false entity in the confusions; no tag or type is empty."""
DASH = "–"
COLUMNS = ("precision", "recall", "f1", "support")
NUM_CONFUSIONS = 15
"""The most rows of the table of confusions."""


class Counted(Metric):
    """Precision, recall and F1 of names, which are types of entities or plain labels."""

    unit: str
    """Heading of the names in tables."""

    def __init__(self) -> None:
        super().__init__()
        self.confusion: Counter[tuple[str, str]] = Counter()
        """Count of each (true, predicted) pair of names; one of them may be `NOTHING`."""
        self.words = self.right_words = 0

    @abstractmethod
    def add(self, sentence: Sentence, predicted: Sequence[str], scores: Sequence[float]) -> None:
        """Add one sentence with its tags: the predicted tags and their probabilities."""

    def never_predicted(self) -> list[str]:
        """List the names that occur but were never predicted."""
        said = {taken for _, taken in self.confusion}
        return sorted({of for of, _ in self.confusion} - said - {NOTHING})

    @property
    def accuracy(self) -> float:
        """Compute the fraction of words whose tag was predicted."""
        return ratio(self.right_words, self.words)

    @property
    def names(self) -> list[str]:
        """Return the names that occur or were predicted, sorted."""
        return sorted({name for pair in self.confusion for name in pair} - {NOTHING})

    @property
    def per_label(self) -> dict[str, dict[str, float]]:
        """Compute precision, recall, F1 and support of each name."""
        true, said = Counter[str](), Counter[str]()
        for (of, taken), count in self.confusion.items():
            true[of] += count
            said[taken] += count
        return {
            name: rates(self.confusion[name, name], true[name], said[name]) for name in self.names
        }

    @property
    def macro_f1(self) -> float:
        """Average F1 over the names."""
        return ratio(sum(row["f1"] for row in self.per_label.values()), len(self.names))

    def tables(self) -> list[Table]:
        """Return the scores of each name, and the most frequent confusions."""
        rows: list[list[str | float]] = [
            [name, *(row[c] for c in COLUMNS)] for name, row in self.per_label.items()
        ]
        wrong = Counter({pair: n for pair, n in self.confusion.items() if pair[0] != pair[1]})
        confused: list[list[str | float]] = [
            [true or DASH, said or DASH, n]
            for (true, said), n in sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
        ]
        return [
            Table(self.unit, (self.unit, *COLUMNS), rows),
            Table("confusions", ("true", "predicted", "count"), confused[:NUM_CONFUSIONS]),
        ]

    def to_json(self) -> dict[str, Any]:
        """Add the scores of each name and the confusions."""
        confusion = [[*pair, count] for pair, count in sorted(self.confusion.items())]
        return {**super().to_json(), "per_label": self.per_label, "confusion": confusion}


class EntityMetric(Counted):
    """Scores of whole entities."""

    unit = "type"

    def add(self, sentence: Sentence, predicted: Sequence[str], scores: Sequence[float]) -> None:
        """Add one sentence, whose true tags may be of any scheme."""
        tags = known(sentence.tags)
        true, said = spans(tags), spans(predicted)
        self.count += 1
        self.words += len(tags)
        pairs = zip(iob2(true, len(tags)), predicted, strict=True)
        self.right_words += sum(one == other for one, other in pairs)
        types = {(begin, end): kind for kind, begin, end in said}
        for kind, begin, end in true:
            self.confusion[kind, types.pop((begin, end), NOTHING)] += 1
        for kind in types.values():
            self.confusion[NOTHING, kind] += 1
        for span in said:
            if span not in true:
                self._mistake(sentence, scores, span, overlapping(span, true), [span])
        for span in true:
            if not overlapping(span, said):
                self._mistake(sentence, scores, span, [span], [])

    def _mistake(
        self,
        sentence: Sentence,
        scores: Sequence[float],
        where: Span,
        true: list[Span],
        said: list[Span],
    ) -> None:
        """Keep a mistake, with the lowest probability of its words as confidence."""
        names = [
            ", ".join(f"{kind}: {sentence.text_of(begin, end)}" for kind, begin, end in some)
            for some in (true, said)
        ]
        confidence = min(scores[where.begin : where.end])
        source = sentence.source_of(where.begin)
        self.add_mistake(Mistake(confidence, source, sentence.text, *(n or DASH for n in names)))

    def scores(self) -> dict[str, float]:
        """Compute F1 over all entities first."""
        right = sum(self.confusion[name, name] for name in self.names)
        true = sum(count for (name, _), count in self.confusion.items() if name != NOTHING)
        said = sum(count for (_, name), count in self.confusion.items() if name != NOTHING)
        overall = rates(right, true, said)
        return {
            "f1": overall["f1"],
            "precision": overall["precision"],
            "recall": overall["recall"],
            "macro_f1": self.macro_f1,
            "accuracy": self.accuracy,
        }


class TagMetric(Counted):
    """Scores of plain labels, one per word."""

    unit = "tag"

    def add(self, sentence: Sentence, predicted: Sequence[str], scores: Sequence[float]) -> None:
        """Add one sentence."""
        self.count += 1
        pairs = zip(known(sentence.tags), predicted, strict=True)
        for number, (true, said) in enumerate(pairs):
            self.words += 1
            self.right_words += true == said
            self.confusion[true, said] += 1
            if true != said:
                word, source = sentence.words[number], sentence.source_of(number)
                names = f"{true}: {word}", f"{said or DASH}: {word}"
                self.add_mistake(Mistake(scores[number], source, sentence.text, *names))

    def scores(self) -> dict[str, float]:
        """Compute the accuracy first, which equals the F1 over all words."""
        return {"accuracy": self.accuracy, "macro_f1": self.macro_f1, "f1": self.accuracy}


def rates(right: int, true: int, said: int) -> dict[str, float]:
    """Compute precision, recall, F1 and support."""
    return {
        "precision": ratio(right, said),
        "recall": ratio(right, true),
        "f1": ratio(2 * right, true + said),
        "support": true,
    }


def overlapping(span: Span, others: Sequence[Span]) -> list[Span]:
    """Return the spans that share a word with `span`."""
    return [other for other in others if other.begin < span.end and span.begin < other.end]
