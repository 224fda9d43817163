"""Read unlabelled examples, and leave out those whose texts are known already."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plainformer.base import UserError, plural
from plainformer.base.say import say
from plainformer.corpora import Columns
from plainformer.finetune.data.example import ExampleT
from plainformer.finetune.data.examples import source_rows
from plainformer.finetune.data.leakage import fingerprint
from plainformer.finetune.data.rows import bounded
from plainformer.finetune.prediction.inputs import file_rows
from plainformer.finetune.task import AS_NAMED, Task

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig


def read_unlabelled(
    task: type[Task[ExampleT, Any, Any]], source: str, columns: Columns = AS_NAMED
) -> list[ExampleT]:
    """Read the examples of a file or URL, or of the training part of a set, without their labels.

    A file whose name does not end as one of rows has a text on each line.

    Raises:
        UserError: an example cannot be read (by file and line), or there is none.
    """
    is_url, path = "://" in source, Path(source).expanduser()
    if is_url or path.exists():
        rows = file_rows(task, source if is_url else str(path), columns)
    else:
        rows = source_rows(task, source, "train", columns)
    found = [task.read(row, labelled=False) for row in bounded(rows)]
    if not found:
        raise UserError(f"{source}: there are no unlabelled texts in it")
    return found


def unlabelled_texts(
    config: "FinetuneConfig", examples: Sequence[Any], held_out: Sequence[Any], quiet: bool
) -> list[Any]:
    """Read the unlabelled examples of a run that are neither training nor validation examples."""
    assert config.unlabelled.unlabelled is not None
    columns = config.kind.naming((), config.columns)
    found = read_unlabelled(config.kind, config.unlabelled.unlabelled, columns)
    some, remark = new_texts(found, examples, held_out)
    say([remark], quiet)
    return some


def new_texts(
    unlabelled: Sequence[ExampleT], examples: Sequence[ExampleT], held_out: Sequence[ExampleT]
) -> tuple[list[ExampleT], str]:
    """Leave out blank, repeated, training and validation texts; return the others, and a remark.

    Where a validation example stands for a group (the questions on a passage), all of the group is
    left out: the validation score must not be one of trained texts.

    Raises:
        UserError: none is left.
    """
    valid = {fingerprint(example.split_key) for example in held_out}
    seen = {fingerprint(example.preview) for example in examples}
    found: list[ExampleT] = []
    num_valid = 0
    for example in unlabelled:
        text = fingerprint(example.preview)
        if fingerprint(example.split_key) in valid:
            num_valid += 1
        elif example.preview.strip() and text not in seen:
            seen.add(text)
            found.append(example)
    if not found:
        raise UserError(
            f"{unlabelled[0].file}: every text is blank or one of the labelled examples: there is "
            "nothing new to learn from"
        )
    rest = len(unlabelled) - len(found) - num_valid
    return found, (
        f"{plural(len(found), 'unlabelled text')}; left out: {num_valid:,} of the validation "
        f"examples, {rest:,} blank, repeated or of the training examples"
    )
