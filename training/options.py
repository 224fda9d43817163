"""The options of a run stand beside it in `options.json`: to repeat it, and to resume no other."""

import json
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellar import UserError, write_json
from training.checkpoint import full_disk

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FILE = "options.json"


def saved_options(
    options: "DataclassInstance", out: Path, *, resume: bool, may_differ: Collection[str]
) -> dict[str, Any] | None:
    """Give the options of the run in `out` that is to be resumed; None when a new one begins.

    Raises UserError when `out` holds a run that is not to be resumed, or one that was started with
    other options than these, but for those that `may_differ`. (Those of the training loop are
    checked against its checkpoint.)
    """
    if not resume:
        if (out / "log.jsonl").exists() or (out / "checkpoints").exists():
            raise UserError(f"{out} already holds a run: --resume it, or choose another folder")
        return None
    path = out / FILE
    if not path.exists():
        return None
    try:
        saved: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    asked = json.loads(json.dumps(asdict(options), default=str))
    differing = [
        f"{name}={saved.get(name)}, not {value}"
        for name, value in asked.items()
        if name not in may_differ and saved.get(name) != value
    ]
    if differing:
        raise UserError(
            f"the run in {out} was started with {'; '.join(differing)}: resume it with the same "
            "options, or choose another folder"
        )
    return saved


def save_options(options: "DataclassInstance", out: Path) -> None:
    """Leave `options.json` in `out`, from which the run can be repeated."""
    with full_disk(out):
        write_json(out / FILE, asdict(options))
