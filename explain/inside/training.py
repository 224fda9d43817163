"""Read the training examples of a model, with the label of each as a text."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from plainformer.base import UserError, from_json, read_json
from plainformer.finetune.config import FinetuneConfig
from plainformer.finetune.data.example import Example
from plainformer.finetune.data.examples import source_rows
from plainformer.finetune.data.fingerprint import fingerprints, refuse_changes
from plainformer.finetune.data.rows import bounded
from plainformer.finetune.prediction.predictor import Predictor
from plainformer.finetune.run import split_examples
from plainformer.finetune.tasks.classification import ClassExample
from plainformer.finetune.tasks.multi_label import LabelsExample
from plainformer.finetune.tasks.multiple_choice import ChoiceExample
from plainformer.finetune.tasks.question_answering import QuestionExample
from plainformer.finetune.tasks.regression import ScoreExample
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding, SentenceExample
from plainformer.finetune.tasks.tagging.iob import OUTSIDE, are_entities, spans
from plainformer.finetune.tasks.tagging.sentences import Sentence

LABELS = {"label", "labels", "score", "right", "answers", "tags"}
"""The fields of examples that are learned."""


@dataclass(frozen=True)
class Shown:
    """An example with its label, as a person reads it."""

    example: Any
    label: str

    @property
    def text(self) -> str:
        """Return the text of the example."""
        shown: str = self.example.preview
        return shown

    @property
    def group(self) -> str:
        """Return what examples of one kind share: the label, or the types of the entities."""
        if isinstance(self.example, Sentence):
            return " ".join(self.example.stratum) or OUTSIDE
        return self.label


def training_of(
    run: str | Path,
    predictor: Predictor,
    train: str | None = None,
    columns: Sequence[str] = (),
) -> list[Shown]:
    """Read the examples of `train`, a file or a set; by default those that the run was trained on.

    Raises `UserError` for examples that cannot be read, or have changed since, and for a model
    without a run or `train`.
    """
    if train is not None:
        return labelled_texts(predictor, train, "train", columns)
    run = Path(run)
    path = run / "options.json"
    try:
        config = from_json(FinetuneConfig, read_json(path), path)
        refuse_changes(fingerprints(config), run, config)
        found, _ = split_examples(config, quiet=True)
    except UserError as error:
        raise UserError(
            f"the training examples of {run} cannot be read ({error}): give --train"
        ) from None
    return [Shown(example, label_text(example)) for example in found]


def labelled_texts(
    predictor: Predictor, source: str, split: str, columns: Sequence[str] = ()
) -> list[Shown]:
    """Read labelled examples as the task of the model has them.

    For a model of sentence vectors, which learns no labels, they are texts, or pairs, with what
    stands in the column `label` or `score`, if there is one.
    """
    task = predictor.task
    rows = bounded(source_rows(type(task), source, split, task.naming(columns, task.columns)))
    if not isinstance(task, SentenceEmbedding):
        examples = [task.read(row) for row in rows]
        found = [Shown(example, label_text(example)) for example in examples]
    else:
        pairs = [(task.read(row, labelled=False), row.fields) for row in rows]
        found = [Shown(one, str(f.get("label", f.get("score", "")))) for one, f in pairs]
    if not found:
        raise UserError(f"{source}: there are no examples")
    return found


def without_label(example: Any) -> Any:
    """Return an example as one to predict: its label may be one that the model does not know."""
    nothing = {"labelled": False} if isinstance(example, SentenceExample) else {}
    names = [field.name for field in fields(example) if field.name in LABELS]
    return replace(example, **dict.fromkeys(names), **nothing)


def label_text(example: Example) -> str:
    """Format the target of an example: its label, score, answer, right option or entities."""
    if isinstance(example, ClassExample):
        return example.label or ""
    if isinstance(example, LabelsExample):
        return ", ".join(example.labels or ())
    if isinstance(example, ScoreExample | SentenceExample):
        return "" if example.score is None else f"{example.score:g}"
    if isinstance(example, ChoiceExample):
        return "" if example.right is None else example.options[example.right]
    if isinstance(example, QuestionExample):
        return example.answers[0].text if example.answers else ""
    if isinstance(example, Sentence):
        return tagged(example)
    return ""


def tagged(sentence: Sentence) -> str:
    """Write the entities of a sentence, or its plain tags."""
    tags = sentence.tags or ()
    if not are_entities(tags):
        return " ".join(tags)
    return ", ".join(
        f"{span.type} {' '.join(sentence.words[span.begin : span.end])}" for span in spans(tags)
    )
