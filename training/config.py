"""Define the settings of the training loop."""

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
    """First option of each group -> the heading of the group in the help."""

    learning_rate: float = 5e-4
    """The highest learning rate of the schedule."""

    schedule: Literal["linear", "cosine", "wsd", "constant"] = "linear"
    """The learning rate after the warm-up: linear decay, cosine decay, constant and then decay
    (wsd: warm-up, stable, decay), or constant."""

    warmup: float = 0.1
    """Fraction of the steps for the warm-up."""

    decay: float = 0.2
    """Fraction of the steps for the decay at the end (wsd only)."""

    weight_decay: float = 0.01
    """Decoupled weight decay, of matrices only: biases and norms have none."""

    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW's decay rates of the running means of the gradient and of its square."""

    eps: float = 1e-6
    """The constant that AdamW adds to the denominator."""

    clip_norm: float = 1.0
    """The largest norm of the gradient of all parameters together; 0: no clipping."""

    on_spike: Literal["ignore", "skip", "stop"] = "ignore"
    """Treatment of a step whose loss or gradient norm is more than 6 standard deviations above its
    running mean: none (ignore), no update (skip), or the end of the run (stop). A NaN or an
    infinity ends the run, unless the choice is skip. A resumed run may have another choice."""

    eval_every: int = 500
    """Steps between evaluations (there is always one at the end); 0: at the end only."""

    patience: int = 0
    """Stop after this many evaluations without a gain; 0: never."""

    seed: int = 0
    """Seed of all randomness in the loop, such as dropout."""

    checkpoint_every: int = 500
    """Steps between checkpoints (there is always one at the end); 0: at the end only."""

    keep: int = 2
    """Checkpoints to keep, beside the best: if the last one is damaged, the one before is used."""

    device: str = "auto"
    """Device: auto (a GPU if there is one), cpu, cuda, cuda:1 …"""

    track: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Send the curves to tensorboard or wandb (Weights & Biases; WANDB_MODE=offline needs no
    network)."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of the matrix products; auto: bf16 on a GPU that supports it, else fp32."""

    compile: bool = False
    """Compile the layers (torch.compile): the first steps take a minute, the others less time."""

    activation_checkpointing: bool = False
    """Keep only the inputs of each layer, and recompute the rest in the backward pass: less memory
    for a third more work."""

    def __post_init__(self) -> None:
        """Raise UserError for a value out of bounds, or values that contradict each other."""
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
    """AdamW; or Muon for the matrices of the blocks and AdamW for the rest."""

    matrix_learning_rate: float = 0.01
    """The highest learning rate of the matrices (muon only)."""

    parallel: Literal["ddp", "fsdp"] = "ddp"
    """With torchrun: a copy of the model on each process (ddp), or a shard of each tensor, for
    models that do not fit on one device (fsdp)."""

    def __post_init__(self) -> None:
        """Raise UserError for a value out of bounds, or values that contradict each other."""
        super().__post_init__()
        check_bounds(self, steps=at_least(1), matrix_learning_rate=above(0))
