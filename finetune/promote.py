"""Copy the model of a run within a folder to that folder."""

import shutil
from pathlib import Path

from plainformer.base import atomic_path
from plainformer.finetune.data.fingerprint import FILE as DATA
from plainformer.training import full_disk

OWN = {"options.json", DATA, "checkpoints", "tensorboard", "wandb"}
"""Files and folders that are of the run alone."""


def promote(run: Path, out: Path) -> None:
    """Copy the files of a finished run to `out`, except its options, checkpoints and own runs."""
    inner = {path.parent.name for path in run.glob("*/options.json")}
    with full_disk(out):
        for file in sorted(run.rglob("*")):
            name = file.relative_to(run)
            first = name.parts[0]
            if file.is_file() and first not in OWN | inner and not first.startswith("."):
                with atomic_path(out / name) as temporary:
                    shutil.copyfile(file, temporary)
