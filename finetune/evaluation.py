"""Evaluate a fine-tuned model on labelled examples, in a stream.

The examples are read twice: once to check them, count them and compare them with the training
examples, and once to predict. Memory does not grow with their number.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from plainformer.base import AUTO, Fields, Inference, UserError, read_json
from plainformer.base.progress import counting, watched
from plainformer.corpora import cache_folder, catalogue
from plainformer.finetune.data.examples import read_examples
from plainformer.finetune.data.fingerprint import FILE as DATA
from plainformer.finetune.data.fingerprint import Fingerprint
from plainformer.finetune.data.leakage import Overlap
from plainformer.finetune.ensemble import Folders, folders_of
from plainformer.finetune.metrics import Metric
from plainformer.finetune.placement import placement_of
from plainformer.finetune.prediction.predictor import Predictor, Progress
from plainformer.finetune.task import AnyTask


@dataclass(frozen=True)
class Evaluation:
    """The result of evaluating a model on a data set."""

    metric: Metric
    num_cut: int
    """Texts that were cut to `max_length` tokens."""
    max_length: int
    training: str | None
    """The training examples with which the set was compared; None where they are gone."""
    warnings: tuple[str, ...]
    """Reasons to doubt the scores."""
    placement: str = "on cpu in fp32"
    """The device and the number format of the model, such as "on cuda:0 in bf16"."""


def evaluate_folder(
    folder: Folders,
    source: str,
    quiet: bool = False,
    inference: Inference = AUTO,
    columns: Sequence[str] = (),
) -> Evaluation:
    """Evaluate the model in `folder` on the examples of a file, or of a set's test split.

    Several folders are an ensemble; the training examples are those of the first.
    `columns` maps fields to columns of the file ("text=review"); by default as in training.
    Raises `UserError` for a folder without
    such a model, and examples that cannot be read.
    """
    predictor = Predictor.load(folder, **asdict(inference))
    task = predictor.task
    kind = type(task)
    naming = kind.naming(columns, task.columns)
    with counting("reading", quiet=quiet) as advance:
        training, overlap = against_training(task, folders_of(folder)[0], advance)
        for example in watched(read_examples(kind, source, "test", naming), advance):
            overlap.add(example)
        warnings = overlap.warnings() if training else ()
    metric, num_cut, where = task.metric(), 0, placement_of(predictor.model)
    with counting("evaluating", overlap.count, quiet=quiet) as advance:
        examples = read_examples(kind, source, "test", naming)
        for example, item, prediction in predictor.predict_examples(examples, advance):
            task.add_to(metric, example, prediction)
            num_cut += item.is_cut
    return Evaluation(metric, num_cut, task.max_length, training, warnings, where)


def against_training(
    task: AnyTask, folder: Path, advance: Progress
) -> tuple[str | None, Overlap[Any]]:
    """Collect the training texts of the run in `folder` for comparison; None if they are gone.

    Changed training examples, by their fingerprint, count as gone.
    """
    kind, naming = type(task), task.naming((), task.columns)
    try:
        source = Fields(read_json(folder / "options.json"), folder).text("train")
        trained = read_json(folder / DATA).get("train")
        if Path(source).exists() or (source in catalogue and (cache_folder() / source).is_dir()):
            passed = Fingerprint()
            overlap = Overlap(
                lambda: passed.watch(
                    watched(read_examples(kind, source, "train", naming), advance)
                ),
            )
            if passed.value == trained:
                return source, overlap
    except UserError:
        pass
    return None, Overlap(tuple)
