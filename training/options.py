"""The options of a run stand beside it in `options.json`: to repeat it, and to resume no other."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plainformer.base import UserError, as_json, output_folder, read_json, write_json
from plainformer.training.checkpoint import full_disk
from plainformer.training.distributed import is_main

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FILE = "options.json"
BEGUN = ("log.jsonl", "checkpoints", "metrics.json")
"""List the names of which the folder of a run that has begun holds at least one."""


@contextmanager
def run_folder(out: Path, maker: str) -> Iterator[None]:
    """Lock `out` for a run of the command `maker`: see `base.output_folder`.

    Of several processes only the main one holds it.
    """
    is_run = (out / FILE).exists() and any((out / name).exists() for name in BEGUN)
    held = output_folder(out, maker, own=is_run) if is_main() else nullcontext()
    with full_disk(out), held:
        yield


def saved_options(
    options: "DataclassInstance", out: Path, *, resume: bool, may_differ: Collection[str]
) -> dict[str, Any] | None:
    """Give the options of the run in `out` that is to be resumed; None when a new one begins.

    Raises UserError when `out` holds a run that is not to be resumed, or one that was started with
    other options than these, but for those that `may_differ`. (Those of the training loop are
    checked against its checkpoint.)
    """
    if not resume:
        if any((out / name).exists() for name in BEGUN):
            raise UserError(f"{out} already holds a run: --resume it, or choose another folder")
        return None
    path = out / FILE
    if not path.exists():
        return None
    saved, asked = read_json(path), as_json(asdict(options))
    differing = list(_differing(saved, asked, may_differ))
    if differing:
        raise UserError(
            f"the run in {out} was started with {'; '.join(differing)}: resume it with the same "
            "options, or choose another folder"
        )
    return saved


def _differing(
    saved: dict[str, Any], asked: dict[str, Any], may_differ: Collection[str]
) -> Iterator[str]:
    """What differs, by the names that a user gives: those of options within options, too."""
    for name, value in asked.items():
        if name in may_differ or saved.get(name) == value:
            continue
        if isinstance(value, dict) and isinstance(saved.get(name), dict):
            yield from _differing(saved[name], value, may_differ)
        else:
            yield f"{name}={saved.get(name)}, not {value}"


def save_options(options: "DataclassInstance", out: Path) -> None:
    """Leave `options.json` in `out`, from which the run can be repeated."""
    if not is_main():
        return
    with full_disk(out):
        write_json(out / FILE, asdict(options))
