"""The settings of a fine-tuning run: the fields are the options of the command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from plainformer.base import OneOf, UserError, above, at_least, between, check_bounds
from plainformer.finetune.augment.options import AugmentOptions
from plainformer.finetune.distillation.options import DistillationOptions
from plainformer.finetune.fair.options import FairOptions
from plainformer.finetune.few_labels.options import UnlabelledOptions
from plainformer.finetune.robust.options import RobustOptions
from plainformer.finetune.task import AnyTask
from plainformer.finetune.task_options import PoolingOptions, TaskOptions
from plainformer.finetune.tasks import TASKS
from plainformer.finetune.tasks.classification import ClassificationOptions
from plainformer.finetune.tuning.options import TuningOptions
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
    of a data set (see `plainformer data list`). The columns are `text` and `label`; those of the
    other tasks are in docs/finetuning.md."""

    out: Path
    """Folder for the run: the model with tokenizer and labels, log, curve, metrics."""

    columns: tuple[str, ...] = ()
    """Read these columns of your files: --columns text=review label=stars. For multi-label there
    may be a column of 0 and 1 for each label: labels=joy,anger. In a file of words and tags without
    a header, columns have numbers: words=2 tags=4. `evaluate` and `predict` remember this."""

    valid: str | None = None
    """Validation examples, for choosing the best checkpoint and for early stopping. By default a
    share of the training examples is held out; a named data set has a validation part."""

    valid_share: float = 0.1
    """Without --valid: hold out this share of the training examples, stratified by label; copies of
    a text all go to the same side."""

    max_length: int = 0
    """Longest input, in tokens. 0 chooses: 128, or the model's number of positions if that is
    smaller; for sentence-embedding the limit that a sentence-transformers folder declares."""

    task: Annotated[TaskOptions, OneOf(OPTIONS)] = field(default_factory=ClassificationOptions)
    """The task, and the options that only it has."""

    epochs: float = 3.0
    """Passes over the training examples. 0 trains nothing and only evaluates, for a model that has
    already learned the task."""

    batch_size: int = 32
    """Number of examples in a batch."""

    accumulate: int = 1
    """Gradient accumulation: compute each batch in this many parts. Less memory, the same steps
    (but in-batch negatives are those of a part). With torchrun: a multiple of the processes."""

    dropout: float = 0.1
    """Dropout rate, in the encoder and before the classifier. Attention weights keep the rate of
    the model's config, but never more than this."""

    layer_decay: float = 1.0
    """Layer-wise learning-rate decay: each layer has this times the rate of the layer above it; 1:
    all have the same."""

    freeze_embeddings: bool = False
    """Do not train the embeddings."""

    freeze_layers: int = 0
    """Do not train the embeddings and this many layers from the bottom."""

    from_scratch: bool = False
    """Start from random weights, to see what pretraining is worth."""

    select: bool = True
    """Keep the weights with the best validation score, and tune thresholds on the validation
    examples. --no-select keeps the last weights and never stops early."""

    seeds: int = 1
    """Repeat the run with this many seeds, report mean and standard deviation of each score, and
    keep the model with the best validation score."""

    folds: int = 0
    """Cross-validation: score each of this many folds with a model trained on the others, then
    train the final model on all examples. 0: no cross-validation."""

    resume: bool = False
    """Resume from the newest complete checkpoint in --out; start anew where there is none."""

    tuning: TuningOptions = field(default_factory=TuningOptions)
    """Parameters to train: those of the encoder that stay unfrozen, and added ones."""

    robust: RobustOptions = field(default_factory=RobustOptions)
    """Objectives around the task's loss."""

    fair: FairOptions = field(default_factory=FairOptions)
    """Groups of examples that are looked at apart."""

    distillation: DistillationOptions = field(default_factory=DistillationOptions)
    """Teachers to learn from."""

    augmentation: AugmentOptions = field(default_factory=AugmentOptions)
    """Changed copies of the training examples."""

    unlabelled: UnlabelledOptions = field(default_factory=UnlabelledOptions)
    """Texts without labels to learn from."""

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
        if self.folds and self.seeds > 1:
            raise UserError("folds do not go with seeds: run them one after the other")
        if self.folds and self.valid is not None:
            raise UserError("folds take turns at validation: leave out either folds or valid")
        for name in (name for name in ("folds", "valid") if getattr(self, name)):
            if self.valid_share != type(self).valid_share:
                raise UserError(f"valid_share holds out examples without {name}: leave one out")
        self.task.check(self)
        self.tuning.check(self)
        self.robust.check(self)
        self.fair.check(self)
        self.distillation.check(self)
        self.augmentation.check(self)
        self.unlabelled.check(self)

    @property
    def kind(self) -> type[AnyTask]:
        """Return the class of the task."""
        return TASKS[self.task.name]

    @property
    def text_settings(self) -> dict[str, Any]:
        """Return the settings of a model that reads whole texts: its dropout and its pooling."""
        pooling = self.task.pooling if isinstance(self.task, PoolingOptions) else "declared"
        return {"dropout": self.dropout, **({} if pooling == "declared" else {"pooling": pooling})}
