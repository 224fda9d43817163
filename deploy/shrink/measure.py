"""Measure a model folder as it is used: size, speed and scores, beside another one."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plainformer.encoder.weights.adapter import TOKENIZERS
from plainformer.finetune.data.batch import Item
from plainformer.finetune.data.examples import read_examples
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
    """Examples a second, the median of a few rounds."""
    scores: dict[str, float]
    """The scores, the one by which models are compared first."""
    examples: int
    """The number of examples that were scored."""


def measure_both(folders: Sequence[Path], data: str, columns: Sequence[str]) -> list[Measured]:
    """Measure models on the same examples; their rounds alternate, so that both share any noise."""
    predictors = [Predictor.load(folder) for folder in folders]
    pairs = [examples(predictor, data, columns) for predictor in predictors]
    scores = [
        measure(predictor.task, predictor.model, its).scores()
        for predictor, its in zip(predictors, pairs, strict=True)
    ]
    timed = [its[:TIMED_TEXTS] for its in pairs]
    seconds: list[list[float]] = [[] for _ in folders]
    for _ in range(ROUNDS):
        for predictor, its, found in zip(predictors, timed, seconds, strict=True):
            start = time.perf_counter()
            list(predict_stream(predictor.task, predictor.model, its))
            found.append(time.perf_counter() - start)
    return [
        Measured(megabytes(folder), len(few) / statistics.median(found), score, len(its))
        for folder, few, found, score, its in zip(
            folders, timed, seconds, scores, pairs, strict=True
        )
    ]


def examples(predictor: Predictor, data: str, columns: Sequence[str]) -> list[tuple[Any, Item]]:
    """Read labelled examples, and encode them."""
    task = predictor.task
    naming = task.naming(columns, task.columns)
    read = read_examples(type(task), data, "test", naming)
    return list(encode_all(task, predictor.tokenizer, read))


def megabytes(folder: Path) -> float:
    """Return the size of the files of weights and tokenizer in `folder`."""
    files = [*folder.glob("*.safetensors"), *(folder / name for name in TOKENIZERS)]
    return sum(path.stat().st_size for path in files if path.is_file()) / 1e6
