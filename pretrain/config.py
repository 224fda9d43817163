"""The settings of a pretraining run: its command-line options are these fields."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from plainformer.base import UserError, above, at_least, between, check_bounds
from plainformer.pretrain.budget import Budget
from plainformer.pretrain.masking import Unit
from plainformer.pretrain.objectives import check_options, choose_objective
from plainformer.training import TrainingConfig

PRESET, USUAL_BATCH = "modern-tiny", 2048
MASK_RATIO, CONTINUED_MASK_RATIO = 0.4, 0.15


@dataclass(frozen=True)
class PretrainConfig:
    """Pretrain an encoder on your text: by masked language modelling, or another objective."""

    corpus: tuple[str, ...]
    """Text to learn from: files, folders, globs or URLs (.txt, .jsonl, .csv, .tsv or .parquet, also
    packed: .gz, .bz2, .xz or .zst), the name of a set (see `plainformer data list`), or the folder
    of a prepared corpus (see `plainformer corpus`)."""

    out: Path
    """Folder for the run: the model, its tokenizer, log, curve and checkpoints."""

    tokenizer: Path | None = None
    """Folder of the tokenizer (see `plainformer tokenizer train`). With `model` that model's own,
    or one that was extended from it."""

    model: Path | None = None
    """Folder (or hub id) of a pretrained model to go on from, on new text: its weights, its
    tokenizer, and as far as it has them its heads."""

    new_words: int = 0
    """With `model`: add to its vocabulary up to so many words of the new text, those that it splits
    most."""

    replay: tuple[str, ...] = ()
    """With `model`: text as it was trained on (as `corpus`): how much of it is forgotten is
    measured, and some of it is learned again."""

    replay_share: float = 0.1
    """Share of the tokens that are of the old text; 0: it is only measured."""

    objective: tuple[str, ...] = ("mlm",)
    """What to learn: mlm (guess masked tokens), clm (guess the next token), denoise (put right what
    is masked, replaced or shuffled), rtd (find the tokens that a generator put there, as ELECTRA);
    nsp (does the second half of a text follow the first?), sop (or are the two swapped?). One of
    the last two may stand beside mlm or denoise: the losses are added."""

    preset: str | None = None
    """Shape of a new model: bert-tiny … bert-base, modern-tiny (where nothing is said) …
    modern-base; for rtd: electra-tiny, electra-small, electra-base; for nsp and sop: a bert,
    albert-tiny or albert-base."""

    max_length: int = 128
    """Tokens of the longest sequence; longer documents are cut."""

    batch_tokens: int = 0
    """Tokens of one batch, filled with whole sequences; 0: 2048, or what suits the `budget`."""

    accumulate: int = 1
    """Batches that make up one optimizer step (a budget decides it with `batch_tokens`)."""

    mask_ratio: float | None = None
    """Share of the tokens to predict; none: 0.4, or 0.15 with `model` (BERT: 0.15; ModernBERT:
    0.3)."""

    mask_ratio_end: float | None = None
    """The share at the last step: from `mask_ratio` it goes there in a line; none: it stays."""

    masking: Unit = "tokens"
    """What is masked together: single tokens, all pieces of a word (words), or spans of up to ten
    words, 3.8 on average (spans, as SpanBERT)."""

    generator_share: float = 0.25
    """Width of the generator, as a share of the discriminator's (rtd only)."""

    teacher: Path | None = None
    """Folder of a pretrained masked language model with the same tokenizer: learn what it holds
    probable, too (distillation; mlm only)."""

    temperature: float = 2.0
    """By how much the teacher's and the student's logits are divided before they are compared."""

    soft_share: float = 0.5
    """Share of the teacher in the loss; the rest is that of the tokens that stood there."""

    valid_share: float = 0.01
    """Share of the documents held out, where the corpus has no held-out part of its own."""

    workers: int = 0
    """Processes that tokenize; 0: one for each core."""

    valid_tokens: int = 50_000
    """Held-out tokens to measure on."""

    budget: str | None = None
    """What the run may cost: a time on this machine (90s, 30m, 2h, 1d) or floating-point operations
    (1e17). It decides the number of steps and, where nothing is said of them, the preset (or its
    size: --preset bert) and the batch; the plan is shown before it starts."""

    resume: bool = False
    """Go on from the newest checkpoint in `out` that is whole; begin where there is none."""

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
        """Refuse what cannot work, before any work is done."""
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
        if self.budget is not None:
            Budget.of(self.budget)
        if self.model is None:
            self._refuse_what_continues()
        elif self.preset is not None:
            raise UserError(f"preset {self.preset} is for a new model: {self.model} has its shape")
        check_options(self, choose_objective(self.objective))

    def with_defaults(self) -> "PretrainConfig":
        """Fill in preset and batch size; with a budget its plan does it."""
        if self.budget is not None:
            return self
        preset = self.preset or (PRESET if self.model is None else None)
        batch_tokens = self.batch_tokens or max(USUAL_BATCH, self.max_length)
        return replace(self, preset=preset, batch_tokens=batch_tokens)

    @property
    def masked_share(self) -> float:
        """Return the share of the tokens to predict in training."""
        usual = MASK_RATIO if self.model is None else CONTINUED_MASK_RATIO
        return usual if self.mask_ratio is None else self.mask_ratio

    def _refuse_what_continues(self) -> None:
        """A new model needs a tokenizer, and has nothing to add to or to forget."""
        if self.tokenizer is None:
            raise UserError("tokenizer is missing: give its folder, or a model to go on from")
        for name in ("new_words", "replay"):
            if getattr(self, name):
                raise UserError(f"{name} is for going on from a model: give its folder as model")
