"""The settings of training on several tasks, and the file of the tasks."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from plainformer.base import (
    Fields,
    UserError,
    above,
    as_json,
    at_least,
    between,
    check_bounds,
    did_you_mean,
    from_json,
    read_json,
)
from plainformer.finetune.config import OPTIONS, FinetuneConfig
from plainformer.finetune.robust.options import RobustOptions
from plainformer.finetune.tuning.options import TuningOptions
from plainformer.training import LoopConfig

OF_EACH = ("train", "valid", "valid_share", "columns", "max_length", "batch_size")
"""The options of `finetune` that each task has for itself, besides those of its kind."""
NAME = re.compile(r"\w[\w-]{0,63}")
"""The name of a task, which is that of its folder, too."""


@dataclass(frozen=True)
class TasksConfig:
    """Fine-tune one encoder for several tasks, each with its head and its data."""

    GROUPS: ClassVar[Mapping[str, str]] = {
        "model": "data",
        "epochs": "optimisation",
        "select": "evaluation",
        "resume": "run",
    }
    """First option of each group -> the heading of the group in the help."""

    model: Path
    """Folder (or name) of the pretrained model and its tokenizer."""

    tasks: Path
    """File of the tasks, .toml or .json. A section names a task and its data: [names], below it
    task = "tagging", train = "conll2003". It may have valid, valid_share, columns, max_length,
    batch_size, and the options of the task, such as crf = true (see `plainformer finetune TASK
    --help`)."""

    out: Path
    """Folder for the run: a folder for each task; log, curve, metrics."""

    epochs: float = 3.0
    """Passes over the training examples. 0 trains nothing and only evaluates."""

    accumulate: int = 1
    """Gradient accumulation: compute each batch in this many parts. With torchrun: a multiple of
    the processes."""

    dropout: float = 0.1
    """Dropout rate, in the encoder and before the classifiers."""

    layer_decay: float = 1.0
    """Layer-wise learning-rate decay: each layer has this times the rate of the layer above it; 1:
    all have the same."""

    freeze_embeddings: bool = False
    """Do not train the embeddings."""

    freeze_layers: int = 0
    """Do not train the embeddings and this many layers from the bottom."""

    select: bool = True
    """Keep the weights with the best validation score, and tune thresholds on the validation
    examples. --no-select keeps the last weights and never stops early."""

    resume: bool = False
    """Resume from the newest complete checkpoint in --out; start anew where there is none."""

    tuning: TuningOptions = field(default_factory=TuningOptions)
    """Parameters to train: those of the encoder that stay unfrozen, and added ones."""

    robust: RobustOptions = field(default_factory=RobustOptions)
    """Objectives around the tasks' losses."""

    training: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            learning_rate=1e-4, eval_every=0, checkpoint_every=0, patience=5
        )
    )
    """The training loop; `eval_every` 0 measures ten times, at most once an epoch."""

    def __post_init__(self) -> None:
        """Check the numbers; those of a task are checked with the options of `finetune`."""
        check_bounds(
            self,
            epochs=at_least(0),
            accumulate=at_least(1),
            dropout=between(0, 1, open_="]"),
            layer_decay=above(0, 1),
            freeze_layers=at_least(0),
        )

    def read_tasks(self) -> dict[str, Any]:
        """Read the sections of the file of tasks; raise `UserError` for one that has none."""
        sections = read_toml(self.tasks) if self.tasks.suffix == ".toml" else read_json(self.tasks)
        if not sections:
            raise UserError(f"{self.tasks} has no tasks: write a section [NAME] for each")
        for name, section in sections.items():
            if not isinstance(section, dict):
                raise UserError(f"{self.tasks}: {name} is in no section: write [NAME] before it")
            if not NAME.fullmatch(name) or name == "checkpoints":
                raise UserError(
                    f"{self.tasks}: {name!r:.60} cannot name a folder: use letters, digits, - and _"
                )
        return dict(as_json(sections))

    def of_task(self, name: str, section: Mapping[str, Any]) -> FinetuneConfig:
        """Return the settings of fine-tuning for one task: those of its section, and the shared.

        Raises `UserError` naming the section for an option that it cannot have.
        """
        place = f"{self.tasks}: [{name}]"
        kind = Fields(section, place).choice("task", tuple(OPTIONS), "classification")
        of_kind = [f.name for f in fields(OPTIONS[kind]) if f.name != "name"]
        shared = as_json(asdict(self))
        known = {f.name for f in fields(FinetuneConfig)}
        for option in section:
            if option in {"task", *OF_EACH, *of_kind}:
                continue
            if option in {*shared, *shared["tuning"], *shared["robust"], *shared["training"]}:
                hint = f"; it holds for all tasks: give it as --{option.replace('_', '-')}"
            else:
                hint = did_you_mean(option, (*OF_EACH, *of_kind))
            raise UserError(f"{place}: {kind} has no option {option!r} of its own{hint}")
        values = {
            **{option: value for option, value in shared.items() if option in known},
            **{option: value for option, value in section.items() if option in OF_EACH},
            "task": {"name": kind, **{o: v for o, v in section.items() if o in of_kind}},
            "out": str(self.out / name),
        }
        return from_json(FinetuneConfig, values, place)


@dataclass(frozen=True)
class MultitaskConfig(TasksConfig):
    """Fine-tune one encoder for several tasks at once, each with its head and its data.

    Each step trains the encoder and the head of one task, on a batch of it. Each task has a section
    in the file --tasks, and a folder in --out, which `evaluate` and `predict` open alone.
    """

    GROUPS: ClassVar[Mapping[str, str]] = {**TasksConfig.GROUPS, "temperature": "optimisation"}

    epochs: float = 3.0
    """Passes over the training examples: as many steps as their batches come to, whichever tasks
    are drawn. 0 trains nothing and only evaluates."""

    select: bool = True
    """Keep the weights with the best mean of the tasks' validation scores, and tune thresholds on
    the validation examples. --no-select keeps the last weights and never stops early."""

    temperature: float = 2.0
    """Temperature of the draw of a task for each step: 1 draws tasks in proportion to their numbers
    of examples, a larger one more equally (2 is usual)."""

    def __post_init__(self) -> None:
        """Check the options that the settings of a task do not."""
        super().__post_init__()
        check_bounds(self, temperature=above(0))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a .toml file; raise `UserError` for one that cannot be read, naming the line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not TOML: {error}") from None
