"""The settings of a fine-tuning run: its command-line options are these fields."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from plainformer.base import UserError, above, at_least, between, check_bounds
from plainformer.training import TrainingConfig

TaskName = Literal[
    "classification",
    "multi-label",
    "multiple-choice",
    "prompt",
    "question-answering",
    "regression",
    "relation",
    "sentence-embedding",
    "tagging",
]

BALANCED: dict[str, tuple[TaskName, ...]] = {
    "weights": ("classification", "multi-label"),
    "sampling": ("classification",),
    "focal": ("classification", "multi-label"),
}
"""the tasks that know each way to help rare labels"""
OF_WHOLE_TEXTS: tuple[TaskName, ...] = (
    "classification",
    "multi-label",
    "multiple-choice",
    "regression",
    "relation",
    "sentence-embedding",
)
"""The tasks that read one vector per text."""


@dataclass(frozen=True)
class FinetuneConfig:
    """Fine-tune a pretrained encoder on your labels."""

    model: Path
    """Folder of the pretrained model and its tokenizer."""

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

    task: TaskName = "classification"
    """What to learn."""

    per_label: int = 0
    """Learn from so many examples of each label, drawn by the seed; 0: from all."""

    epochs: float = 3.0
    """How often to go through the training examples; the number of steps follows from it. 0 only
    measures, which makes sense where the model has nothing new to learn."""

    batch_size: int = 32
    """Examples in a batch."""

    max_length: int = 0
    """The longest sequence in tokens; 0: 128, or the model's positions if they are fewer, and for
    sentence-embedding the limit that a sentence-transformers folder declares."""

    long: Literal["cut", "windows"] = "cut"
    """What becomes of longer texts: they are cut, and counted, or read in overlapping windows."""

    pooling: Literal["declared", "cls", "mean"] = "declared"
    """Represent a text by its first token, or by the mean of all (only for modern encoders and
    sentence-embedding). By default as the model folder declares; if it does not, the first token,
    and for sentence-embedding the mean."""

    dropout: float = 0.1
    """Share of the vectors' entries that are dropped in training, inside the encoder and before
    the classifier; attention weights keep the model's own share, but never more than this."""

    layer_decay: float = 1.0
    """How much smaller the learning rate is from each layer to the one below it; 1: the same for
    all."""

    freeze_embeddings: bool = False
    """Leave the embeddings as they were pretrained."""

    freeze_layers: int = 0
    """Leave so many layers, from the bottom, as they were pretrained, and the embeddings."""

    balance: Literal["none", "weights", "sampling", "focal"] = "none"
    """What helps labels that are rare: weights in the loss, repeating their examples, or the focal
    loss, to which what is known already hardly counts."""

    tune_threshold: bool = False
    """Of two labels, give the rarer one from that probability on which makes its F1 the best on the
    validation examples; multi-label classification does so always."""

    crf: bool = False
    """Learn which tags follow each other, and weigh those of a whole sentence together: for the
    entities of tagging."""

    template: str = "{text} It was [MASK]."
    """What the masked-language model of a prompt reads: {text}, [MASK], and {pair} where there is
    one."""

    verbaliser: str = ""
    """What a word in place of [MASK] means to a prompt: word=label,word=label; each word is one
    token of the model's vocabulary."""

    from_scratch: bool = False
    """Keep the model's shape and tokenizer, but not its weights: what pretraining is worth."""

    select: bool = True
    """Keep what does best on the validation examples: the weights of one evaluation, and thresholds
    where a task has them. Without: the last weights, as they are, and no early stop."""

    seeds: int = 1
    """Repeat the run with so many seeds, give mean and spread of every score, and keep the model
    that does best on the validation examples."""

    search: bool = False
    """Try a third of the learning rate and three times as much, then twice the epochs, with the
    first seed; go on with what does best on the validation examples."""

    folds: int = 0
    """Measure by cross-validation in so many folds of the training examples, then learn from all
    of them; 0: by the validation examples."""

    resume: bool = False
    """Go on from the newest checkpoint in `out` that is whole; begin where there is none."""

    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            learning_rate=1e-4, eval_every=0, checkpoint_every=0, patience=5
        )
    )
    """`steps` follows from `epochs`; `eval_every` 0 measures ten times, at most once an epoch."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, before any work is done."""
        check_bounds(
            self,
            per_label=at_least(0),
            epochs=at_least(0),
            batch_size=at_least(1),
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
        if self.crf and self.task != "tagging":
            raise UserError(f"crf is for tagging: {self.task} has no tags")
        if self.search and self.epochs == 0:
            raise UserError("search needs epochs in which to learn")
        if self.tune_threshold and (self.folds or not self.select):
            raise UserError("tune_threshold needs validation examples by which things are chosen")
        able = BALANCED.get(self.balance, (self.task,))
        if self.task not in able:
            raise UserError(f"balance {self.balance} is for {', '.join(able)}, not for {self.task}")
        if self.pooling != "declared" and self.task not in OF_WHOLE_TEXTS:
            raise UserError(f"pooling is for {', '.join(OF_WHOLE_TEXTS)}, not for {self.task}")
        if self.tune_threshold and self.task != "classification":
            raise UserError(f"tune_threshold is for classification, not for {self.task}")

    @property
    def text_settings(self) -> dict[str, Any]:
        """Return the settings of a model that reads whole texts: its dropout and its pooling."""
        pooling = {} if self.pooling == "declared" else {"pooling": self.pooling}
        return {"dropout": self.dropout, **pooling}
