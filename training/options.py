"""Save the options of a run in `options.json`, and refuse to resume it with others."""

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
PLAN = "plan.json"
"""The file with the number of steps planned, and of pretraining the budget that they come from."""
BEGUN = ("log.jsonl", "checkpoints", "metrics.json")
"""Names in the folder of a started run, which holds at least one of them."""


@contextmanager
def run_folder(out: Path, maker: str) -> Iterator[None]:
    """Lock `out` for a run of the command `maker`: see `base.output_folder`.

    Only the main process holds the lock.
    """
    is_run = (out / FILE).exists() and any((out / name).exists() for name in BEGUN)
    held = output_folder(out, maker, own=is_run) if is_main() else nullcontext()
    with full_disk(out), held:
        yield


def saved_options(
    options: "DataclassInstance", out: Path, *, resume: bool, may_differ: Collection[str]
) -> dict[str, Any] | None:
    """Return the saved options of the run in `out` to resume; None for a new run.

    Raises UserError when `out` holds a run and `resume` is not set, or when the run was started
    with other options, except those in `may_differ`. (The options of the training loop are compared
    with its checkpoint.)
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
    """Describe each option that differs, nested ones by their own names."""
    for name, value in asked.items():
        if name in may_differ or saved.get(name) == value:
            continue
        if isinstance(value, dict) and isinstance(saved.get(name), dict):
            yield from _differing(saved[name], value, may_differ)
        else:
            yield f"{name}={saved.get(name)}, not {value}"


def save_options(options: "DataclassInstance", out: Path) -> None:
    """Write `options.json` into `out`, from which the run can be repeated."""
    if not is_main():
        return
    with full_disk(out):
        write_json(out / FILE, asdict(options))
