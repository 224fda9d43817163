"""Save what a later stage learns from, so that a resumed run learns from the same."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from plainformer.base import from_json, read_json_list, write_json
from plainformer.finetune.data.example import Example
from plainformer.training import full_disk, is_main, main_first

LARGEST_FILE = 2**34  # bytes

AnyExample = TypeVar("AnyExample", bound=Example)


def saved_examples(
    path: Path, kind: type[AnyExample], make: Callable[[], Iterable[AnyExample]]
) -> list[AnyExample]:
    """Return the examples saved in `path`; where there is no such file, first save those of `make`.

    All processes call `make`, or none does.
    """
    with main_first():
        is_saved = path.exists()
    if not is_saved:
        made = [asdict(example) for example in make()]
        if is_main():
            with full_disk(path.parent):
                write_json(path, made)
    with main_first():
        return [from_json(kind, values, path) for values in read_json_list(path, LARGEST_FILE)]
