"""Check the labels of a run with folds by the models that did not see them.

    plainformer finetune … --folds 5 --out runs/folds
    plainformer check-labels runs/folds --out doubtful.csv

Each example is in one fold, and the model of `fold-k` was trained on the others. Its probabilities
give the doubtful labels, by confident learning (`confident.py`), in the order of the difference
p(suggested) − p(given). Every word of a tagged sentence, and every label of a multi-label text, is
checked on its own: words together, labels each by its own thresholds.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from plainformer.base import UserError, read_json
from plainformer.base.from_json import from_json
from plainformer.base.progress import counting
from plainformer.corpora import Row
from plainformer.finetune.config import FinetuneConfig
from plainformer.finetune.data.batch import Item
from plainformer.finetune.data.example import Prediction
from plainformer.finetune.data.fingerprint import fingerprints, refuse_changes
from plainformer.finetune.data.split import folds
from plainformer.finetune.labels.answers import Answers, predict_answers
from plainformer.finetune.labels.confident import NONE, suggestions
from plainformer.finetune.losses.label_smoothing import IGNORED
from plainformer.finetune.metrics import Table
from plainformer.finetune.prediction.outputs import open_output, writer
from plainformer.finetune.prediction.predictor import Predictor
from plainformer.finetune.run import training_examples
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.classification import OneLabel
from plainformer.finetune.tasks.multi_label import MultiLabel
from plainformer.finetune.tasks.tagging.task import Tagging

HAS = ("no", "yes")
"""The answers to the question whether a text has a label."""


@dataclass(frozen=True)
class Asked:
    """A label as it is given, and the probabilities of all that it might be."""

    source: str
    text: str
    about: str
    """The word that is tagged, or the label in question; empty where the text has one label."""
    given: int
    answers: tuple[str, ...]
    p: Float[np.ndarray, " answers"]
    of_several: bool = False
    """The mark of a label that a text has or has not, beside others: `answers` are then `HAS`."""


@dataclass(frozen=True)
class Doubt(Prediction):
    """A label that is probably wrong, with the probabilities of both."""

    given: str
    suggested: str
    p_given: float
    p_suggested: float


@dataclass(frozen=True)
class Doubts:
    """The doubtful labels of a run, the surest doubts first."""

    rows: tuple[tuple[Asked, Doubt], ...]
    num_labels: int
    """The number of labels that were checked."""

    def table(self) -> Table:
        """Count the doubtful labels for each pair of given and suggested label."""
        names = (
            (f"{asked.about}: " * asked.of_several + doubt.given, doubt.suggested)
            for asked, doubt in self.rows
        )
        counts = Counter(names).most_common()
        return Table(
            "doubtful labels", ("given", "suggested", "count"), [(*n, c) for n, c in counts]
        )

    def write(self, out: Path) -> None:
        """Write a row for each doubtful label: file, line, text, both labels, probabilities."""
        with open_output(out) as file:
            write = writer(file, out.suffix)
            for asked, doubt in self.rows:
                name, _, line = asked.source.rpartition(":")
                about = {"about": asked.about} if asked.about else {}
                fields = {"file": name, "line": int(line), "text": asked.text, **about}
                write(Row(fields, Path(name), int(line)), doubt)


def check_labels(run: str | Path, quiet: bool = True) -> Doubts:
    """Find the labels of the training examples that the models of the other folds doubt.

    Raises:
        UserError: the run has no folds, its examples have changed, or its task has no labels to
            check.
    """
    folder = Path(run)
    path = folder / "options.json"
    config = from_json(FinetuneConfig, read_json(path), path)
    if not config.folds:
        raise UserError(f"{run} has no folds: make it with finetune --folds 5")
    if not issubclass(config.kind, OneLabel | MultiLabel | Tagging):
        raise UserError(f"{config.task.name} has no set of labels, one of which could be wrong")
    refuse_changes(fingerprints(config), folder, config)
    return find_doubts(out_of_fold(config, folder, quiet))


def out_of_fold(config: FinetuneConfig, run: Path, quiet: bool) -> Iterator[Asked]:
    """Yield each label of the training examples, as the model of its fold answers it."""
    examples = training_examples(config)
    parts = folds(examples, config.folds, config.training.seed)
    with counting("checking", len(examples), quiet=quiet) as advance:
        for number in range(config.folds):
            predictor = Predictor.load(run / f"fold-{number + 1}")
            held_out = [e for e, part in zip(examples, parts, strict=True) if part == number]
            for example, item, answers in predict_answers(predictor, held_out):
                yield from questions(predictor.task, example, item, answers)
            advance(len(held_out))


def questions(task: AnyTask, example: Any, item: Item, answers: Answers) -> Iterator[Asked]:
    """Yield the labels of an example, each with the probabilities of all that it might be."""
    text = example.preview
    if isinstance(task, MultiLabel):
        for label, p in zip(task.labels, answers, strict=True):
            given = int(label in example.labels)
            yield Asked(example.source, text, label, given, HAS, p, of_several=True)
    elif isinstance(task, Tagging):
        numbered = zip(task.numbers(example), answers, strict=False)  # the text may be cut
        for word, (number, p) in enumerate(numbered):
            if number != IGNORED:
                about = example.words[word]
                yield Asked(example.source_of(word), text, about, number, task.labels, p)
    else:
        assert isinstance(task, OneLabel)
        number = task.labels.index(example.label)
        yield Asked(example.source, text, "", number, task.labels, answers[0])


def find_doubts(every: Iterable[Asked]) -> Doubts:
    """Find the doubtful labels: those of a text together, and each of several on its own."""
    groups: dict[str, list[Asked]] = defaultdict(list)
    for asked in every:
        groups[asked.about if asked.of_several else ""].append(asked)
    found = [pair for group in groups.values() for pair in doubts(group)]
    found.sort(key=lambda pair: pair[1].p_given - pair[1].p_suggested)
    return Doubts(tuple(found), sum(map(len, groups.values())))


def doubts(group: list[Asked]) -> Iterator[tuple[Asked, Doubt]]:
    """Yield the doubtful labels among those with the same answers."""
    given = np.array([asked.given for asked in group])
    found = suggestions(given, np.stack([asked.p for asked in group]))
    for asked, number in zip(group, found.tolist(), strict=True):
        if number != NONE:
            names, p = asked.answers, asked.p
            pair = float(p[asked.given]), float(p[number])
            yield asked, Doubt(names[asked.given], names[number], *pair)
