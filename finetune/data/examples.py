"""Read labelled examples from a file, or from one split of a named set."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plainformer.base import UserError, did_you_mean
from plainformer.corpora import Columns, Row, catalogue, fetch, is_set
from plainformer.finetune.data.example import ExampleT
from plainformer.finetune.data.rows import bounded
from plainformer.finetune.task import AS_NAMED, AnyTask, Task


def read_examples(
    task: type[Task[ExampleT, Any, Any]],
    source: str,
    split: str,
    columns: Columns = AS_NAMED,
) -> Iterator[ExampleT]:
    """Yield the examples of `source`: a file, a URL, or the `split` of a named set.

    Raises `UserError` with file and line for an example that cannot be read.
    """
    return (task.read(row) for row in bounded(source_rows(task, source, split, columns)))


def source_rows(
    task: type[AnyTask], source: str, split: str, columns: Columns = AS_NAMED
) -> Iterator[Row]:
    """Yield the rows of `source`: a file, a URL, or the `split` of a named set."""
    path = Path(source).expanduser()
    if "://" in source:
        return task.rows(source, columns)
    if not path.exists():
        if is_set(source):
            path = fetch(source) / f"{split}.jsonl"
        elif near := did_you_mean(source, catalogue):
            raise UserError(f"no such file: {source}{near}")
    return task.rows(path, columns)


def few_of_each(examples: Iterable[ExampleT], count: int, seed: int) -> list[ExampleT]:
    """Draw `count` random examples of each label, or all of a rarer label.

    Raises `UserError` for an example without exactly one label.
    """
    given: Sequence[ExampleT] = list(examples)
    taken: Counter[str] = Counter()
    chosen = []
    for index in np.random.default_rng(seed).permutation(len(given)):
        label = given[index].category
        if label is None:
            raise UserError(f"{given[index].source}: without a label there are no few of each")
        if taken[label] < count:
            taken[label] += 1
            chosen.append(given[index])
    return chosen
