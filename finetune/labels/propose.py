"""Propose which texts of a pool to label next: those that a model would learn most from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from plainformer.base import UserError, read_json, refuse_same_file
from plainformer.base.from_json import from_json
from plainformer.corpora import Columns, Row
from plainformer.finetune.config import FinetuneConfig
from plainformer.finetune.data.example import Example, Prediction
from plainformer.finetune.data.examples import read_examples
from plainformer.finetune.data.rows import bounded
from plainformer.finetune.embedder import Embedder
from plainformer.finetune.few_labels.contrastive import without_classifier
from plainformer.finetune.labels.answers import check_answers, predict_answers
from plainformer.finetune.labels.coreset import k_center
from plainformer.finetune.labels.uncertainty import entropy, margin
from plainformer.finetune.prediction.inputs import Inputs
from plainformer.finetune.prediction.outputs import check_format, open_output, writer
from plainformer.finetune.prediction.predictor import Predictor
from plainformer.finetune.run import training_examples
from plainformer.finetune.task import AnyTask
from plainformer.finetune.task_file import task_of
from plainformer.finetune.tasks.classification import Classification
from plainformer.finetune.tasks.tagging.sentences import Sentence
from plainformer.finetune.tasks.texts import TextExample

By = Literal["entropy", "margin", "coreset"]


@dataclass(frozen=True)
class Proposal(Prediction):
    """The score by which a row is proposed: its entropy, margin or distance."""

    score: float


def propose(
    run: str | Path,
    file: str,
    count: int = 50,
    by: By = "entropy",
    labelled: str | None = None,
    columns: Sequence[str] = (),
) -> list[tuple[Row, Proposal]]:
    """Choose `count` rows of `file` to label next, the most useful first.

    `by` entropy or margin: those of which the model in `run` is the least certain; by coreset:
    those farthest from what is `labelled` (by default the training examples of the run) and from
    each other. `columns` maps fields to columns; by default as in training.

    Raises:
        UserError: the run, the file or the labelled examples cannot be read, or the task has no
            probabilities.
    """
    inputs = Inputs((), file).shared(columns, labelled)
    predictor = Predictor.load(run)
    task = predictor.task
    if by != "coreset":
        check_answers(task)
    rows = list(bounded(chain.from_iterable(inputs.portions(task))))
    if not rows:
        raise UserError(f"{file}: there is nothing to choose from")
    pool = [task.read(row, labelled=False) for row in rows]
    if by == "coreset":
        naming = task.naming(columns, task.columns)
        known = labelled_examples(Path(run), task, labelled, naming)
        chosen = k_center(vectors(run, pool), vectors(run, known), count)
    else:
        score = entropy if by == "entropy" else margin
        scores = [score(answers) for _, _, answers in predict_answers(predictor, pool)]
        sign = -1 if by == "entropy" else 1
        order = sorted(range(len(scores)), key=lambda index: sign * scores[index])
        chosen = [(index, scores[index]) for index in order[:count]]
    return [(rows[index], Proposal(score)) for index, score in chosen]


def write_proposals(proposals: Sequence[tuple[Row, Proposal]], out: Path) -> None:
    """Write the rows with their own columns and their score."""
    with open_output(out) as file:
        write = writer(file, out.suffix)
        for row, proposal in proposals:
            write(row, proposal)


def labelled_examples(run: Path, task: AnyTask, labelled: str | None, naming: Columns) -> list[Any]:
    """Read the labelled examples: a file, or those that the run was trained on."""
    if labelled is not None:
        found: list[Any] = list(read_examples(type(task), labelled, "train", naming))
    else:
        path = run / "options.json"
        try:
            found = training_examples(from_json(FinetuneConfig, read_json(path), path))
        except UserError as error:
            raise UserError(
                f"the training examples of {run} cannot be read ({error}): give --labelled"
            ) from None
    if not found:
        raise UserError(f"{labelled}: there are no examples")
    return found


def vectors(run: str | Path, examples: Sequence[Example]) -> Float[np.ndarray, "examples size"]:
    """Embed the texts of examples with the encoder of a run: the mean of its token vectors."""
    embedder = Embedder.load(run)
    if isinstance(task_of(Path(run)), Classification) and embedder.model.layout.layers:
        embedder = replace(embedder, model=without_classifier(embedder.model))
    return embedder([text_of(example) for example in examples])


def text_of(example: Example) -> str | tuple[str, str]:
    """Return the text of an example, or the text and its pair."""
    if isinstance(example, TextExample):
        return example.text if example.pair is None else (example.text, example.pair)
    return example.text if isinstance(example, Sentence) else example.preview


def check_proposal(by: By, labelled: str | None, file: str, out: Path) -> None:
    """Raise `UserError` for options that do not go together, or an output that is none."""
    if labelled is not None and by != "coreset":
        raise UserError(f"labelled examples are for --by coreset: {by} needs none")
    refuse_same_file(out, file)
    check_format(out)
