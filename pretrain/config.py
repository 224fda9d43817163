"""The settings of a pretraining run: the fields are the options of the command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from plainformer.base import UserError, above, at_least, between, check_bounds, refuse_unused
from plainformer.pretrain.budget import Budget
from plainformer.pretrain.masking import Unit
from plainformer.pretrain.objectives import check_options, choose_objective
from plainformer.training import TrainingConfig

DEFAULT_PRESET, DEFAULT_BATCH = "modern-tiny", 2048
MASK_RATIO, CONTINUED_MASK_RATIO = 0.4, 0.15


@dataclass(frozen=True)
class PretrainConfig:
    """Pretrain an encoder on your text: by masked language modelling, or another objective."""

    GROUPS: ClassVar[Mapping[str, str]] = {
        "corpus": "data",
        "objective": "objective",
        "preset": "model and batches",
        "valid_tokens": "evaluation",
        "resume": "run",
    }
    """First option of each group -> the heading of the group in the help."""

    corpus: tuple[str, ...]
    """Text to learn from: files, folders, globs or URLs (.txt, .jsonl, .csv, .tsv or .parquet, also
    compressed: .gz, .bz2, .xz or .zst), the name of a set (see `plainformer data list`), or the
    folder of a prepared corpus (see `plainformer corpus`)."""

    out: Path
    """Folder for the run: the model, its tokenizer, log, curve and checkpoints."""

    tokenizer: Path | None = None
    """Folder of the tokenizer (see `plainformer tokenizer train`). With --model it may be left out:
    the model's own is used."""

    model: Path | None = None
    """Continue from this pretrained model, a folder or a name: its weights (with the heads that the
    objective needs) and its tokenizer. The default recipe is then `continue`."""

    new_words: int = 0
    """With --model: add up to this many words of the new text to the vocabulary, those that save
    the most tokens."""

    replay: tuple[str, ...] = ()
    """With --model: text of the kind that the model was trained on before (given as --corpus is).
    Forgetting is measured on it, and some of it is mixed into training."""

    replay_share: float = 0.1
    """Share of the training tokens that come from --replay; 0: only measure forgetting."""

    valid_share: float = 0.01
    """Hold out this share of the documents for evaluation, where the corpus has no such part of its
    own."""

    workers: int = 0
    """Number of processes that tokenize; 0: one for each core."""

    objective: tuple[str, ...] = ("mlm",)
    """Objectives: mlm (predict masked tokens), clm (predict the next token), denoise (restore
    masked, replaced and shuffled tokens), rtd (detect tokens replaced by a generator, as ELECTRA),
    nsp (does the second half of a text follow the first?), sop (are the two halves swapped?). mlm
    or denoise may be combined with nsp or sop: the losses are added."""

    mask_ratio: float | None = None
    """Share of the tokens that are masked and predicted (mlm, denoise, rtd). By default 0.4, or
    0.15 with --model. (BERT has 0.15, ModernBERT 0.3.)"""

    mask_ratio_end: float | None = None
    """Mask ratio of the last step, reached linearly from --mask-ratio. By default constant."""

    masking: Unit = "tokens"
    """Mask single tokens, whole words, or spans of up to ten words (3.8 on average: SpanBERT)."""

    generator_share: float = 0.25
    """Width of the generator relative to the discriminator (rtd)."""

    teacher: Path | None = None
    """Distillation (mlm): folder of a pretrained masked language model with the same tokenizer,
    whose predictions are learned besides the masked tokens."""

    temperature: float = 2.0
    """Temperature of distillation: both models' logits are divided by it."""

    soft_share: float = 0.5
    """Weight of the distillation loss, from 0 to 1; the loss of the masked tokens has the rest."""

    preset: str | None = None
    """Architecture and size of a new model: bert-tiny … bert-base, modern-tiny (the default) …
    modern-base; for rtd: electra-tiny, electra-small, electra-base; for nsp and sop: bert-tiny …
    bert-base, albert-tiny or albert-base."""

    max_length: int = 128
    """Longest sequence, in tokens; longer documents are split into several sequences."""

    batch_tokens: int = 0
    """Size of a batch in tokens, filled with whole sequences; 0: 2048, or chosen by --budget."""

    accumulate: int = 1
    """Gradient accumulation: batches for one optimizer step; chosen by --budget, unless
    --batch-tokens is given."""

    budget: str | None = None
    """Limit the cost of the run: a time on this machine (90s, 30m, 2h, 1d), or a number of
    floating-point operations (1e17). The number of steps follows and, where they are not given, the
    preset (or its size: --preset bert) and the batch. The plan is shown first."""

    valid_tokens: int = 50_000
    """Number of held-out tokens to evaluate on."""

    resume: bool = False
    """Resume from the newest complete checkpoint in --out; start anew where there is none."""

    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            optimizer="muon",
            learning_rate=2e-3,
            matrix_learning_rate=0.015,
            weight_decay=0.1,
            schedule="wsd",
            warmup=0.02,
            decay=0.4,
        )
    )

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(
            self,
            new_words=at_least(0),
            replay_share=between(0, 1, open_="]"),
            max_length=at_least(3),
            batch_tokens=at_least(0),
            accumulate=between(1, 100_000),
            mask_ratio=between(0, 1, open_="[]"),
            mask_ratio_end=between(0, 1, open_="[]"),
            generator_share=above(0, 1),
            temperature=above(0),
            soft_share=between(0, 1),
            valid_share=between(0, 1, open_="[]"),
            workers=between(0, 1024),
            valid_tokens=at_least(1),
        )
        if not self.corpus:
            raise UserError("corpus must be at least one file or name")
        if 0 < self.batch_tokens < self.max_length:
            raise UserError(f"batch_tokens must be at least max_length, not {self.batch_tokens}")
        if not self.replay:
            refuse_unused(self, ("replay_share",), "replay")
        if self.training.patience and not self.training.eval_every:
            raise UserError("patience counts evaluations: give eval_every, too, or leave it out")
        if self.budget is not None:
            Budget.of(self.budget)
            if self.accumulate > 1 and not self.batch_tokens:
                raise UserError(
                    "budget chooses accumulate: leave it out, or give batch_tokens, too"
                )
        if self.model is None:
            self._check_new_model()
        elif self.preset is not None:
            raise UserError(f"preset {self.preset} is for a new model: {self.model} has its shape")
        check_options(self, choose_objective(self.objective))

    def with_defaults(self) -> "PretrainConfig":
        """Fill in preset and batch size; with a budget its plan does it."""
        if self.budget is not None:
            return self
        preset = self.preset or (DEFAULT_PRESET if self.model is None else None)
        batch_tokens = self.batch_tokens or max(DEFAULT_BATCH, self.max_length)
        return replace(self, preset=preset, batch_tokens=batch_tokens)

    @property
    def masked_share(self) -> float:
        """Return the share of the tokens to predict in training."""
        usual = MASK_RATIO if self.model is None else CONTINUED_MASK_RATIO
        return usual if self.mask_ratio is None else self.mask_ratio

    def _check_new_model(self) -> None:
        """Raise `UserError` for options that only a model to continue from may have."""
        if self.tokenizer is None:
            raise UserError("tokenizer is missing: give its folder, or a model to continue from")
        for name in ("new_words", "replay"):
            if getattr(self, name):
                raise UserError(f"{name} is for continuing from a model: give its folder as model")
