"""Read the group of each example from the user's column, and score each group on its own.

    items = with_groups(task, items, examples, config)          each item bears its group
    groups = held_out_groups(config)                            of validation, before training
    scores = group_scores(task, model, held_out, groups)        each group's own

Groups are not fields of examples: tasks, and the models that are saved, know nothing of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from plainformer.base import UserError
from plainformer.corpora import Row, is_set
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import ItemT
from plainformer.finetune.data.examples import source_rows
from plainformer.finetune.data.groups import group_of, no_column
from plainformer.finetune.fair.options import UNEQUAL
from plainformer.finetune.metrics import Table
from plainformer.finetune.prediction.predictor import measure
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

MOST = 100
"""The most groups: a column with more values names something else."""
SHOWN = 4
"""The number of scores that are shown of each group."""

Groups = Mapping[str, str]
"""File and line of an example -> its group."""


def read_groups(config: "FinetuneConfig", source: str | None = None, part: str = "train") -> Groups:
    """Read the group of each example of `source`, by default of the training examples.

    Raises `UserError` with file and line for an example without one; and for training examples of
    one group alone, or of more than `MOST`.
    """
    column, kind = config.fair.group, config.kind
    assert column is not None
    rows = source_rows(kind, source or config.train, part, kind.naming(config.columns))
    groups = {row.source: required_group(row, column) for row in rows}
    if source is None and not 2 <= len(names := set(groups.values())) <= MOST:
        many = f"only {min(names)!r}" if len(names) == 1 else f"{len(names):,} different values"
        raise UserError(
            f"{config.train}: column {column!r} has {many}: name one that parts the examples into "
            f"2 to {MOST} groups"
        )
    return groups


def required_group(row: Row, column: str) -> str:
    """Return the group of a row; raise `UserError` with file and line where there is none."""
    if column not in row.fields:
        raise UserError(f"{row.source}: {no_column(row, column)}")
    group = group_of(row, column)
    if group is None:
        raise UserError(
            f"{row.source}: no group in column {column!r}: write one, such as unknown, or leave "
            "the row out"
        )
    return group


def with_groups(
    task: AnyTask, items: list[ItemT], examples: Sequence[Any], config: "FinetuneConfig"
) -> list[ItemT]:
    """Give each training item the group and the label of its example, if there are groups.

    Raises `UserError` where the loss of an example is not its own, and groups are to be weighed.
    """
    options = config.fair
    if not options.group:
        return items
    weighs = [name for name in options.methods if name in UNEQUAL]
    if weighs and isinstance(task, SentenceEmbedding) and task.scale is None:
        raise UserError(
            f"{weighs[0]} weighs the losses of examples, and without scores the loss of a pair "
            "depends on the others of its batch: give scores, or use group_adversarial"
        )
    groups = read_groups(config)
    return [
        replace(item, group=groups[example.source], category=example.category)
        for item, example in zip(items, examples, strict=True)
    ]


def group_scores(
    task: AnyTask,
    model: PretrainedModel,
    held_out: Sequence[tuple[Any, Any]],
    groups: Groups,
) -> dict[str, dict[str, float]]:
    """Measure the validation examples of each group: their number ("examples") and scores."""
    found = {}
    for name in sorted(set(groups.values())):
        own = [pair for pair in held_out if groups[pair[0].source] == name]
        if own:
            found[name] = {"examples": len(own), **measure(task, model, own).scores()}
    return found


def held_out_groups(config: "FinetuneConfig") -> Groups:
    """Return the groups of the validation examples; none where no row has the column.

    Raises `UserError` with file and line for a row without a group, where others have one.
    """
    if not config.fair.group:
        return {}
    source = config.valid or (config.train if is_set(config.train) else None)
    if source is None or config.folds:
        return read_groups(config)
    kind = config.kind
    rows = source_rows(kind, source, "valid", kind.naming(config.columns))
    if not any(config.fair.group in row.fields for row in rows):
        return {}
    return read_groups(config, source, "valid")


def group_tables(scores: Mapping[str, Mapping[str, float]]) -> tuple[Table, ...]:
    """Tabulate the first scores of each group, if there are groups."""
    if not scores:
        return ()
    names = list(next(iter(scores.values())))[: 1 + SHOWN]
    rows: list[tuple[str | float, ...]] = [
        (group, *(own[name] for name in names)) for group, own in scores.items()
    ]
    return (Table("groups", ("group", *(name.replace("_", " ") for name in names)), rows),)
