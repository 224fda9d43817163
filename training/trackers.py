"""Send the metrics of a run to TensorBoard or to Weights & Biases.

They are those of log.jsonl and speed.jsonl, at most twice a second: those of the last step. The
names begin with training/, held_out/ and speed/. A resumed run continues the same curves.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from plainformer.base import UserError, read_json
from plainformer.training.distributed import is_main

ToolName = Literal["tensorboard", "wandb"]
PROJECT = "plainformer"


class TensorBoard:
    """A writer of event files in `out`/tensorboard, for `tensorboard --logdir`."""

    def __init__(self, out: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # The steps after the checkpoint, logged before the run was killed, are logged again.
        self._writer = SummaryWriter(out / "tensorboard", purge_step=step + 1)

    def add(self, step: int, numbers: Mapping[str, float]) -> None:
        """Append the numbers of a step to the event file."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()


class WeightsAndBiases:
    """A run of the project `plainformer`; with WANDB_MODE=offline in files under `out`/wandb.

    It has the name of the folder; its id is that of the newest wandb folder in there.
    """

    def __init__(self, out: Path, step: int) -> None:
        import wandb

        options = out / "options.json"
        begun = sorted(out.glob("wandb/*run-*-*"))
        try:
            self._run = wandb.init(
                project=PROJECT,
                dir=out,
                name=out.resolve().name,
                id=begun[-1].name.rpartition("-")[2] if begun and step else None,
                resume="allow",
                config=read_json(options) if options.exists() else None,
                settings=wandb.Settings(console="off"),
            )
        except wandb.Error as error:
            raise UserError(
                f"wandb cannot begin ({error}): WANDB_MODE=offline needs neither account nor "
                "network, and `wandb sync` sends it later"
            ) from error

    def add(self, step: int, numbers: Mapping[str, float]) -> None:
        """Log one row; rows of one step become one."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


Tracker = TensorBoard | WeightsAndBiases
TOOLS: dict[ToolName, type[Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
}


def refuse_missing_trackers(names: Sequence[ToolName]) -> None:
    """Raise `UserError` for a tracker that is not installed, before any work is done."""
    for name in names:
        if find_spec(name) is None:
            raise UserError(f"{name} is not installed: pip install {name}")


def trackers(names: Sequence[ToolName], out: Path, step: int) -> list[Tracker]:
    """Open the trackers of these names, for a run after `step` steps.

    Only the main process has trackers. Raises UserError for one that is not installed or cannot
    start.
    """
    if not is_main():
        return []
    begun: list[Tracker] = []
    for name in names:
        try:
            begun.append(TOOLS[name](out, step))
        except ImportError as error:
            raise UserError(f"{name} is not installed: pip install {name}") from error
    return begun
