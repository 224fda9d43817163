"""The settings of a fine-tuning run: the fields are the options of the command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from plainformer.base import OneOf, UserError, above, at_least, between, check_bounds
from plainformer.finetune.robust.options import RobustOptions
from plainformer.finetune.task import AnyTask
from plainformer.finetune.task_options import PoolingOptions, TaskOptions
from plainformer.finetune.tasks import TASKS
from plainformer.finetune.tasks.classification import ClassificationOptions
from plainformer.training import LoopConfig

OPTIONS = {name: task.Options for name, task in TASKS.items()}


@dataclass(frozen=True)
class FinetuneConfig:
    """Fine-tune a pretrained encoder on your labels."""

    GROUPS: ClassVar[Mapping[str, str]] = {
        "model": "data",
        "task": "task",
        "epochs": "optimisation",
        "select": "evaluation",
        "resume": "run",
    }
    """First option of each group -> the heading of the group in the help."""

    model: Path
    """Folder (or name) of the pretrained model and its tokenizer."""

    train: str
    """Labelled examples: a file (.jsonl .csv .tsv .parquet, or a format of the task), or the name
    of a set (see `plainformer data list`). Columns are `text` and `label`; for those of other tasks
    see the README."""

    out: Path
    """Folder for the run: the model with tokenizer and labels, log, curve, metrics."""

    columns: tuple[str, ...] = ()
    """Map field names to the columns of your files: --columns text=review label=stars. For
    multi-label there may be a column of 0 and 1 per label: labels=joy,anger. For words and tags
    without a header, give column numbers: words=2 tags=4. `evaluate` and `predict` remember the
    map."""

    valid: str | None = None
    """Examples for choosing the best checkpoint and for early stopping. By default a share of the
    training examples is held out (of a named set, its own validation part)."""

    valid_share: float = 0.1
    """Without --valid: the share of the training examples to hold out, stratified by label; copies
    of a text stay together."""

    max_length: int = 0
    """The longest sequence in tokens; 0: 128, or the model's positions if they are fewer, and for
    sentence-embedding the limit that a sentence-transformers folder declares."""

    task: Annotated[TaskOptions, OneOf(OPTIONS)] = field(default_factory=ClassificationOptions)
    """The task, and the options that only it has."""

    epochs: float = 3.0
    """Passes over the training examples; the number of steps follows. 0 only measures, which makes
    sense for a model that has nothing new to learn."""

    batch_size: int = 32
    """Examples in a batch."""

    accumulate: int = 1
    """Compute each batch in this many parts, whose gradients add up: less memory, the same steps
    (but in-batch negatives are those of a part). With torchrun: a multiple of the processes."""

    dropout: float = 0.1
    """Dropout rate in training, inside the encoder and before the classifier; attention weights
    keep the model's own rate, but never more than this."""

    layer_decay: float = 1.0
    """Factor of the learning rate from each layer to the one below it; 1: the same for all."""

    freeze_embeddings: bool = False
    """Do not train the embeddings."""

    freeze_layers: int = 0
    """Do not train the embeddings and this many layers from the bottom."""

    from_scratch: bool = False
    """Start from random weights: the baseline for pretraining."""

    select: bool = True
    """Keep the best validation checkpoint and tune thresholds. --no-select keeps the final weights
    and never stops early."""

    seeds: int = 1
    """Repeat the run with this many seeds, report mean and spread of every score, and keep the
    model that does best on the validation examples."""

    search: bool = False
    """Try a third of the learning rate and three times as much, then twice the epochs, with the
    first seed; train with the settings that do best on the validation examples."""

    folds: int = 0
    """Cross-validate in this many folds of the training examples, then train on all of them; 0:
    measure on the validation examples."""

    resume: bool = False
    """Continue from the newest complete checkpoint in `out`; start anew where there is none."""

    # Options of methods that change how a model is tuned (a dataclass each, its group beside these)
    # belong here.

    robust: RobustOptions = field(default_factory=RobustOptions)
    """Objectives around the task's loss."""

    training: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            learning_rate=1e-4, eval_every=0, checkpoint_every=0, patience=5
        )
    )
    """The training loop; `eval_every` 0 measures ten times, at most once an epoch."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(
            self,
            epochs=at_least(0),
            batch_size=at_least(1),
            accumulate=between(1, self.batch_size),
            max_length=at_least(0),
            valid_share=between(0, 1, open_="[]"),
            dropout=between(0, 1, open_="]"),
            seeds=at_least(1),
            folds=at_least(0),
            layer_decay=above(0, 1),
            freeze_layers=at_least(0),
        )
        if 0 < self.max_length < 3:
            raise UserError(f"max_length must be 0 or at least 3, not {self.max_length}")
        if self.folds == 1:
            raise UserError("folds must be 0 or at least 2, not 1")
        if self.folds and (self.seeds > 1 or self.search):
            raise UserError("folds go with neither seeds nor search: run them one after the other")
        if self.folds and self.valid is not None:
            raise UserError("folds take turns at validation: leave out either folds or valid")
        if self.search and self.epochs == 0:
            raise UserError("search needs epochs of training")
        self.task.check(self)
        self.robust.check(self)

    @property
    def kind(self) -> type[AnyTask]:
        """Return the class of the task."""
        return TASKS[self.task.name]

    @property
    def text_settings(self) -> dict[str, Any]:
        """Return the settings of a model that reads whole texts: its dropout and its pooling."""
        pooling = self.task.pooling if isinstance(self.task, PoolingOptions) else "declared"
        return {"dropout": self.dropout, **({} if pooling == "declared" else {"pooling": pooling})}
