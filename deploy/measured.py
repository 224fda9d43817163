"""Measure a model folder as it is used: size, speed and scores, beside another one."""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plainformer.base import UserError
from plainformer.encoder.weights.adapter import TOKENIZERS
from plainformer.finetune.data.examples import read_examples
from plainformer.finetune.metrics import Table
from plainformer.finetune.prediction.predictor import (
    Predictor,
    encode_all,
    measure,
    predict_stream,
)

ROUNDS, TIMED_TEXTS = 5, 256


@dataclass(frozen=True)
class Measured:
    """One model, as it was measured on labelled examples."""

    megabytes: float
    """Weights and tokenizer, as files."""
    speed: float
    """Examples a second from text to prediction, the median of a few rounds."""
    scores: dict[str, float]
    """The scores, the one by which models are compared first."""
    examples: int
    """The number of examples that were scored."""


def measure_both(
    predictors: Sequence[Predictor], folders: Sequence[Path], data: str, columns: Sequence[str]
) -> list[Measured]:
    """Measure the models of some folders on the same examples.

    Their rounds alternate, so that both share any noise.
    """
    sources = [examples(predictor, data, columns) for predictor in predictors]
    scores = [
        measure(p.task, p.model, encode_all(p.task, p.tokenizer, its)).scores()
        for p, its in zip(predictors, sources, strict=True)
    ]
    timed = [its[:TIMED_TEXTS] for its in sources]
    seconds: list[list[float]] = [[] for _ in folders]
    for _ in range(ROUNDS):
        for p, its, found in zip(predictors, timed, seconds, strict=True):
            start = time.perf_counter()
            list(predict_stream(p.task, p.model, encode_all(p.task, p.tokenizer, its)))
            found.append(time.perf_counter() - start)
    return [
        Measured(megabytes(folder), len(few) / statistics.median(found), score, len(its))
        for folder, few, found, score, its in zip(
            folders, timed, seconds, scores, sources, strict=True
        )
    ]


def examples(predictor: Predictor, data: str, columns: Sequence[str]) -> list[Any]:
    """Read labelled examples as the predictor's task does."""
    task = predictor.task
    return list(read_examples(type(task), data, "test", task.naming(columns, task.columns)))


def megabytes(folder: Path) -> float:
    """Return the size of the files of weights and tokenizer in `folder`."""
    files = [*folder.glob("*.safetensors"), *(folder / name for name in TOKENIZERS)]
    return sum(path.stat().st_size for path in files if path.is_file()) / 1e6


def refuse_loss(results: Sequence[Measured], tolerance: float, remedy: str) -> None:
    """Raise `UserError` where the first score of the second fell by more than `tolerance`."""
    before, after = results
    name, old = next(iter(before.scores.items()))
    new = after.scores[name]
    if not (old - new <= tolerance or math.isnan(old)):
        raise UserError(
            f"{name} fell from {old:.4f} to {new:.4f}, by more than the tolerance of "
            f"{tolerance:g}: nothing is written ({remedy}accept it with a larger --tolerance)"
        )


def comparison(results: Sequence[Measured], models: Sequence[str]) -> Table:
    """Return a table of size, speed and scores, a row for each model."""
    names = list(results[0].scores)[:3]
    rows = [
        (
            model,
            f"{found.megabytes:,.2f}",
            f"{found.speed:,.0f}",
            *(f"{found.scores[name]:.4f}" for name in names),
        )
        for model, found in zip(models, results, strict=True)
    ]
    return Table("measured", ("model", "MB", "examples a second", *names), rows)
