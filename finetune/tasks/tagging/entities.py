"""How good tags are: entities, each as a whole, or plain labels word by word.

An entity is right if its words and its type are. With tp, fp, fn the right, the false and the
missed: precision = tp / (tp + fp), recall = tp / (tp + fn), F1 = 2 tp / (2 tp + fp + fn), over all
entities and for each type, and 0 where nothing is to count; as `conlleval` and seqeval count.
Plain labels are counted by the same formulas, a word each, as in scikit-learn.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from plainformer.finetune.metrics.base import Metric, Mistake, Table, share
from plainformer.finetune.report.figures import confusion_figure
from plainformer.finetune.tasks.tagging.iob import Span, iob2, spans

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTHING = ""
"""the name of what was not found, or is not there; no tag and no type is empty"""
DASH = "–"
"""how that is shown"""
COLUMNS = ("precision", "recall", "f1", "support")
SHOWN = 15
"""the most frequent confusions, in the table"""


@runtime_checkable
class TaggedWords(Protocol):
    """Words with their tags."""

    @property
    def words(self) -> tuple[str, ...]:
        """The words."""

    @property
    def tags(self) -> tuple[str, ...] | None:
        """Their tags."""

    @property
    def shown(self) -> str:
        """The text as a person reads it."""

    def text_of(self, begin: int, end: int) -> str:
        """What stands there of `words[begin:end]`."""

    def place_of(self, word: int) -> str:
        """File and line of a word."""


@runtime_checkable
class WordTagging(Protocol):
    """A prediction of tags."""

    @property
    def tags(self) -> tuple[str, ...]:
        """The tag of each word."""

    @property
    def scores(self) -> tuple[float, ...]:
        """How probable each tag is."""


class Counted(Metric[TaggedWords, WordTagging]):
    """Precision, recall and F1 of names: types of entities, or plain labels."""

    unit: str
    """what is counted"""

    def __init__(self) -> None:
        super().__init__()
        self.confusion: Counter[tuple[str, str]] = Counter()
        """[i, j]: how many were of name i and were taken for j; one of them may be `NOTHING`"""
        self.words = self.right_words = 0

    @abstractmethod
    def add(self, example: TaggedWords, prediction: WordTagging) -> None:
        """Count one sentence."""

    def never_predicted(self) -> list[str]:
        """List the types that occur and were never predicted."""
        said = {taken for _, taken in self.confusion}
        return sorted({of for of, _ in self.confusion} - said - {NOTHING})

    @property
    def accuracy(self) -> float:
        """Share of the words that got their tag."""
        return share(self.right_words, self.words)

    @property
    def names(self) -> list[str]:
        """All names that occur, or were predicted, sorted."""
        return sorted({name for pair in self.confusion for name in pair} - {NOTHING})

    @property
    def per_label(self) -> dict[str, dict[str, float]]:
        """Precision, recall, F1 and support of each name."""
        true, said = Counter[str](), Counter[str]()
        for (of, taken), count in self.confusion.items():
            true[of] += count
            said[taken] += count
        return {
            name: rates(self.confusion[name, name], true[name], said[name]) for name in self.names
        }

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the names."""
        return share(sum(row["f1"] for row in self.per_label.values()), len(self.names))

    def tables(self) -> list[Table]:
        """The scores of each name, and the most frequent confusions."""
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
            Table("confusions", ("true", "predicted", "count"), confused[:SHOWN]),
        ]

    def figures(self) -> dict[str, "Figure"]:
        """What was taken for what."""
        names = self.names
        if not names:
            return {}
        names += [NOTHING] * any(NOTHING in pair for pair in self.confusion)
        counts: Int64[np.ndarray, "names names"] = np.array(
            [[self.confusion[true, said] for said in names] for true in names], np.int64
        )
        score, value = next(iter(self.scores().items()))
        return {
            "confusion": confusion_figure(
                [n or DASH for n in names], counts, f"{score} {value:.1%}"
            )
        }

    def to_json(self) -> dict[str, Any]:
        """All of it, for `metrics.json`."""
        confusion = [[*pair, count] for pair, count in sorted(self.confusion.items())]
        return {**super().to_json(), "per_label": self.per_label, "confusion": confusion}


class EntityMetric(Counted):
    """Entities, each as a whole."""

    unit = "type"

    def add(self, example: TaggedWords, prediction: WordTagging) -> None:
        """Count one sentence; its own tags may be of any scheme."""
        tags = example.tags or ()
        true, said = spans(tags), spans(prediction.tags)
        self.count += 1
        self.words += len(tags)
        pairs = zip(iob2(true, len(tags)), prediction.tags, strict=True)
        self.right_words += sum(one == other for one, other in pairs)
        types = {(begin, end): kind for kind, begin, end in said}
        for kind, begin, end in true:
            self.confusion[kind, types.pop((begin, end), NOTHING)] += 1
        for kind in types.values():
            self.confusion[NOTHING, kind] += 1
        for span in said:
            if span not in true:
                self._mistake(example, prediction, span, overlapping(span, true), [span])
        for span in true:
            if not overlapping(span, said):
                self._mistake(example, prediction, span, [span], [])

    def _mistake(
        self,
        example: TaggedWords,
        prediction: WordTagging,
        where: Span,
        true: list[Span],
        said: list[Span],
    ) -> None:
        """Keep a mistake; the model is as sure of it as of the least sure word."""
        names = [
            ", ".join(f"{kind}: {example.text_of(begin, end)}" for kind, begin, end in some)
            for some in (true, said)
        ]
        confidence = min(prediction.scores[where.begin : where.end])
        place = example.place_of(where.begin)
        self.mistaken(Mistake(confidence, place, example.shown, *(n or DASH for n in names)))

    def scores(self) -> dict[str, float]:
        """F1 over all entities first."""
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
    """Plain labels, a word each."""

    unit = "tag"

    def add(self, example: TaggedWords, prediction: WordTagging) -> None:
        """Count one sentence."""
        self.count += 1
        pairs = zip(example.tags or (), prediction.tags, strict=True)
        for number, (true, said) in enumerate(pairs):
            self.words += 1
            self.right_words += true == said
            self.confusion[true, said] += 1
            if true != said:
                word = example.words[number]
                confidence, place = prediction.scores[number], example.place_of(number)
                names = f"{true}: {word}", f"{said or DASH}: {word}"
                self.mistaken(Mistake(confidence, place, example.shown, *names))

    def scores(self) -> dict[str, float]:
        """Accuracy first; where each word has one label it is the F1 over all of them, too."""
        return {"accuracy": self.accuracy, "macro_f1": self.macro_f1, "f1": self.accuracy}


def rates(right: int, true: int, said: int) -> dict[str, float]:
    """Precision, recall, F1 and support."""
    return {
        "precision": share(right, said),
        "recall": share(right, true),
        "f1": share(2 * right, true + said),
        "support": true,
    }


def overlapping(span: Span, others: Sequence[Span]) -> list[Span]:
    """Those that share a word with `span`."""
    return [other for other in others if other.begin < span.end and span.begin < other.end]
