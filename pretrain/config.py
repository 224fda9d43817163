"""The settings of a pretraining run: its command-line options are these fields."""

from dataclasses import dataclass, field
from pathlib import Path

from cellar import UserError
from training import TrainingConfig


@dataclass(frozen=True)
class PretrainConfig:
    """Pretrain an encoder by masked language modelling on your text."""

    corpus: tuple[str, ...]
    """Text to learn from: files, folders or globs (.txt .jsonl .csv .tsv .parquet), or the name of
    a set (see `plainformer data list`)."""

    tokenizer: Path
    """Folder of the tokenizer (see `plainformer tokenizer train`)."""

    out: Path
    """Folder for the run: the model, its tokenizer, log, curve and checkpoints."""

    preset: str = "modern-tiny"
    """Shape of the model: bert-tiny … bert-base, modern-tiny … modern-base."""

    max_length: int = 128
    """Tokens of the longest sequence; longer documents are cut."""

    batch_tokens: int = 2048
    """Tokens of one batch, filled with whole sequences."""

    accumulate: int = 1
    """Batches that make up one optimizer step."""

    mask_ratio: float = 0.15
    """Share of the tokens to guess (BERT: 0.15; ModernBERT: 0.3)."""

    whole_words: bool = False
    """Mask all pieces of a word together."""

    valid_share: float = 0.01
    """Share of the documents held out, where the corpus has no held-out part of its own."""

    valid_tokens: int = 50_000
    """Held-out tokens to measure on."""

    minutes: float = 0.0
    """Choose the number of steps so that training takes about so long here; 0: as `steps` says."""

    resume: bool = False
    """Go on from the newest checkpoint in `out`."""

    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            learning_rate=3e-3, schedule="wsd", warmup=0.05, decay=0.4
        )
    )

    def __post_init__(self) -> None:
        """Refuse what cannot work, before any work is done."""
        rules = {
            "corpus": (len(self.corpus) > 0, "at least one file or name"),
            "max_length": (self.max_length >= 3, "at least 3"),
            "batch_tokens": (self.batch_tokens >= self.max_length, "at least max_length"),
            "accumulate": (self.accumulate >= 1, "at least 1"),
            "mask_ratio": (0 < self.mask_ratio < 1, "between 0 and 1"),
            "valid_share": (0 < self.valid_share < 1, "between 0 and 1"),
            "valid_tokens": (self.valid_tokens >= 1, "at least 1"),
            "minutes": (self.minutes >= 0, "0 or more"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise UserError(f"{name} must be {rule}, not {getattr(self, name)}")
