"""Define the settings of the training loop."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from plainformer.base import UserError, above, at_least, between, check_bounds
from plainformer.base.inference import Precision, check_device_name

READ_BY = {
    "decay": ("schedule", ("wsd",)),
    "matrix_learning_rate": ("optimizer", ("muon",)),
    "momentum": ("optimizer", ("sgd",)),
    "betas": ("optimizer", ("adamw", "muon")),
    "eps": ("optimizer", ("adamw", "muon")),
}
"""Option -> the option that must have one of these values for it to have an effect."""


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
    """Share of the steps in which the learning rate rises from 0 (warm-up)."""

    decay: float = 0.2
    """Share of the steps, at the end, in which the learning rate falls to 0 (wsd only)."""

    weight_decay: float = 0.01
    """Weight decay of the matrices; biases and norms have none. Decoupled from the gradient with
    adamw and muon, added to it with sgd."""

    optimizer: Literal["adamw", "muon", "sgd"] = "adamw"
    """adamw; muon (Muon for the matrices of the blocks, AdamW for the rest); or sgd (with momentum:
    it needs a learning rate some hundred times larger, 0.01 to 0.1)."""

    matrix_learning_rate: float = 0.01
    """The highest learning rate of the matrices (muon only)."""

    momentum: float = 0.9
    """The decay rate of the sum of past gradients (sgd only)."""

    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW's betas: decay rates of the running means of the gradient and of its square."""

    eps: float = 1e-6
    """AdamW's epsilon, which is added to the denominator."""

    clip_norm: float = 1.0
    """Clip the norm of the whole gradient to this value; 0: no clipping."""

    on_spike: Literal["ignore", "skip", "stop"] = "ignore"
    """A spike is a step whose loss or gradient norm is more than 6 standard deviations above its
    running mean: train on it (ignore), leave the step out (skip), or stop the run (stop). NaN and
    infinity stop the run except with skip. May be changed with --resume."""

    eval_every: int = 500
    """Evaluate every N steps, and at the end. 0: `pretrain` only at the end, `finetune` ten times,
    at most once an epoch."""

    patience: int = 0
    """Early stopping: stop after this many evaluations without an improvement; 0: never."""

    seed: int = 0
    """Seed of everything random: new weights, the order of the data, dropout."""

    checkpoint_every: int = 500
    """Save a checkpoint every N steps, and at the end; 0: only at the end."""

    keep: int = 2
    """Keep this many of the newest checkpoints, besides the best one."""

    device: str = "auto"
    """Compute on this device: auto (a GPU if there is one: CUDA, MPS of Apple, XPU of Intel), cpu,
    cuda, cuda:1, mps, xpu …"""

    track: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Report the metrics to TensorBoard or Weights & Biases, too (WANDB_MODE=offline needs no
    network)."""

    precision: Precision = "auto"
    """Number format of matrix products. auto: bf16 on a GPU that has it, fp16 on CUDA of compute
    capability 7 (T4, V100), else fp32. fp16 scales the loss, and leaves out steps whose gradients
    overflow."""

    compile: bool = False
    """Compile the layers with torch.compile: the first steps take a minute, all others less
    time."""

    activation_checkpointing: bool = False
    """Gradient checkpointing: keep only the inputs of each layer, and recompute the rest in the
    backward pass. Less memory, a third more computation."""

    def __post_init__(self) -> None:
        """Raise UserError for a value out of bounds, or values that contradict each other."""
        check_bounds(
            self,
            learning_rate=above(0),
            matrix_learning_rate=above(0),
            momentum=between(0, 1, open_="]"),
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
        check_device_name(self.device)
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
    """Number of optimizer steps."""

    parallel: Literal["ddp", "fsdp"] = "ddp"
    """With torchrun: ddp keeps a copy of the model on each process; fsdp splits each tensor among
    them, for models that do not fit on one device."""

    def __post_init__(self) -> None:
        """Raise UserError for a value out of bounds, or values that contradict each other."""
        super().__post_init__()
        check_bounds(self, steps=at_least(1))


def refuse_unread(config: LoopConfig, arguments: Iterable[str]) -> None:
    """Raise `UserError` for an option in the arguments of a command that has no effect.

    Options of a recipe or a file, which are not among the arguments, are no fault.
    """
    given = {argument.partition("=")[0] for argument in arguments}
    for name, (reader, values) in READ_BY.items():
        option = f"--{name.replace('_', '-')}"
        if option in given and getattr(config, reader) not in values:
            methods = " or ".join(f"--{reader} {value}" for value in values)
            raise UserError(f"{option} is an option of {methods}: give both, or neither")
