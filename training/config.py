"""How to train: the settings of the loop, whatever is trained."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from plainformer.base import UserError, above, at_least, between, check_bounds

DEVICES = r"cpu|(?:cuda|mps|xpu)(?::\d{1,3})?"
"""The accepted names of devices."""


@dataclass(frozen=True)
class LoopConfig:
    """Settings of the training loop that every stage offers."""

    GROUPS: ClassVar[Mapping[str, str]] = {
        "learning_rate": "optimisation",
        "eval_every": "evaluation",
        "seed": "run",
    }
    """The group of the options from this field on, in the help of a command."""

    learning_rate: float = 5e-4
    """The rate at the top of the schedule."""

    schedule: Literal["linear", "cosine", "wsd", "constant"] = "linear"
    """How the rate goes after the warm-up: down in a line, down in a cosine, flat and then down
    (warm-up, stable, decay), or flat."""

    warmup: float = 0.1
    """Fraction of the steps in which the rate rises."""

    decay: float = 0.2
    """Fraction of the steps in which the rate falls at the end (wsd only)."""

    weight_decay: float = 0.01
    """Decoupled weight decay, on matrices only: biases and norms are spared."""

    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW's decay of the running mean of the gradient, and of its square."""

    eps: float = 1e-6
    """AdamW's term that keeps the division finite."""

    clip_norm: float = 1.0
    """Largest norm of the gradient of all parameters together; 0 clips nothing."""

    on_spike: Literal["ignore", "skip", "stop"] = "ignore"
    """What to do at a step whose loss or gradient norm is more than 6 standard deviations above its
    running mean: nothing (ignore), leave the step out (skip), or end the run, whose last checkpoint
    is from before (stop). A loss or gradient that is no finite number ends it, unless it is to
    skip. A resumed run may have another choice."""

    eval_every: int = 500
    """Steps between evaluations (there is always one at the end); 0: at the end only."""

    patience: int = 0
    """Stop after this many evaluations without a gain; 0: never."""

    seed: int = 0
    """Seed of everything random in the loop; with the step it gives dropout."""

    checkpoint_every: int = 500
    """Steps between checkpoints (there is always one at the end); 0: at the end only."""

    keep: int = 2
    """Checkpoints to keep, beside the best: where the last is damaged, that before it will do."""

    device: str = "auto"
    """Where to train: auto (a GPU where there is one), cpu, cuda, cuda:1 …"""

    track: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Show the curves in other tools, too: in tensorboard, or in wandb (Weights & Biases; without
    a network by WANDB_MODE=offline)."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of the matrix products; auto: bf16 on a GPU that has it, else fp32."""

    compile: bool = False
    """Compile the layers (torch.compile): the first steps take a minute, the others less time."""

    activation_checkpointing: bool = False
    """Keep of each layer only what goes into it, and compute the rest again in the backward pass:
    less memory for a third more work."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, before any work is done."""
        check_bounds(
            self,
            learning_rate=above(0),
            warmup=between(0, 1),
            decay=between(0, 1),
            weight_decay=at_least(0),
            betas=between(0, 1, open_="]"),
            eps=above(0),
            clip_norm=at_least(0),
            seed=at_least(0),
            eval_every=at_least(0),
            patience=at_least(0),
            checkpoint_every=at_least(0),
            keep=at_least(1),
        )
        if not re.fullmatch(f"auto|{DEVICES}", self.device):
            raise UserError(f"device must be auto, cpu, cuda, cuda:1 …, not {self.device[:40]!r}")
        if self.schedule == "wsd" and self.warmup + self.decay > 1:
            raise UserError("warmup and decay together must not exceed 1")


@dataclass(frozen=True)
class TrainingConfig(LoopConfig):
    """All settings of the training loop: those of every stage, and those of pretraining."""

    GROUPS: ClassVar[Mapping[str, str]] = {
        **LoopConfig.GROUPS,
        "steps": "optimisation",
        "parallel": "run",
    }

    steps: int = 1000
    """Optimizer steps."""

    optimizer: Literal["adamw", "muon"] = "adamw"
    """What takes the steps: AdamW; or Muon for the matrices of the blocks, AdamW for the rest."""

    matrix_learning_rate: float = 0.01
    """The rate of the matrices at the top of the schedule (muon only)."""

    parallel: Literal["ddp", "fsdp"] = "ddp"
    """What several processes (torchrun) have of the model: the whole of it each (ddp), or each a
    part of every tensor, for what does not fit on one device (fsdp)."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, before any work is done."""
        super().__post_init__()
        check_bounds(self, steps=at_least(1), matrix_learning_rate=above(0))
