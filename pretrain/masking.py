"""Dynamic masking: choose the tokens that a masked language model has to predict.

A share of the tokens (15 % in BERT) is chosen; of these 80 % become [MASK], 10 % a random token,
and 10 % stay as they are: three disjoint parts of one draw (Devlin et al. 2018, §3.1). A `unit` is
chosen as a whole:

- `tokens`: each token on its own (Liu et al. 2019, arXiv:1907.11692, draw anew at every step);
- `words`: all tokens of a word;
- `spans`: ℓ words in a row with p(ℓ) ∝ 0.2 · 0.8^(ℓ−1), at most 10, until the share is used up; a
  span as a whole becomes [MASK], becomes random or stays (SpanBERT, Joshi et al. 2019,
  arXiv:1907.10529).

Special tokens are never chosen and never drawn.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int, Int64

from plainformer.base import UserError
from plainformer.pretrain.batch import MaskedBatch, PackedText
from plainformer.tokenizer import Tokenizer

MASKED, DRAWN = 0.8, 0.1
SPAN_P, LONGEST_SPAN = 0.2, 10
Unit = Literal["tokens", "words", "spans"]
Positions = Int64[np.ndarray, " chosen"]


@dataclass(frozen=True)
class Masking:
    """Mask the tokens of one tokenizer; the chosen ones are the targets. A `Corruption`."""

    mask_id: int
    ordinary_ids: Int64[np.ndarray, " ordinary"]
    """The vocabulary without special tokens, from which random tokens are drawn."""
    ratio: float = 0.15
    """Share of the tokens to choose."""
    unit: Unit = "tokens"
    last_ratio: float | None = None
    """The share at the last of `steps`, if it changes linearly over the steps."""
    steps: int = 1

    @classmethod
    def of(cls, tokenizer: Tokenizer, **settings: Any) -> "Masking":
        """Make the masking of this tokenizer; by default BERT's."""
        return cls(tokenizer.mask_id, ordinary_ids(tokenizer), **settings)

    def __post_init__(self) -> None:
        for ratio in (self.ratio, self.last_ratio):
            if ratio is not None and not 0 < ratio < 1:
                raise UserError(f"the masking ratio must be between 0 and 1, not {ratio}")

    def ratio_at(self, step: int) -> float:
        """Return the share of the tokens to choose in `step`, from 0."""
        if self.last_ratio is None:
            return self.ratio
        progress = min(step / max(self.steps - 1, 1), 1.0)
        return self.ratio + progress * (self.last_ratio - self.ratio)

    def __call__(self, text: PackedText, rng: np.random.Generator, step: int = 0) -> MaskedBatch:
        """Mask some tokens of the text; the targets are the original ones."""
        masked, positions = self.mask(text.ids, text.words, text.special, rng, step)
        return text.with_targets(positions, text.ids[positions], shown=masked)

    def mask(
        self,
        ids: Int64[np.ndarray, " tokens"],
        words: Int[np.ndarray, " tokens"],
        special: Bool[np.ndarray, " tokens"],
        rng: np.random.Generator,
        step: int = 0,
    ) -> tuple[Int64[np.ndarray, " tokens"], Positions]:
        """Mask some of the ids; return also the positions of all that were chosen.

        `words` is the number of each token's word, in ascending order from 0; `special` marks
        special tokens.
        """
        positions, fate = self.choose(words, special, self.ratio_at(step), rng)
        masked = ids.copy()
        masked[positions[fate < MASKED]] = self.mask_id
        drawn = positions[(fate >= MASKED) & (fate < MASKED + DRAWN)]
        masked[drawn] = rng.choice(self.ordinary_ids, len(drawn))
        return masked, positions

    def choose(
        self,
        words: Int[np.ndarray, " tokens"],
        special: Bool[np.ndarray, " tokens"],
        ratio: float,
        rng: np.random.Generator,
    ) -> tuple[Positions, np.ndarray]:
        """Choose positions, and for each a number in [0, 1): masked, random or unchanged."""
        if self.unit == "spans":
            spans = choose_spans(words, special, ratio, rng)
            sizes = [len(span) for span in spans]
            positions = np.concatenate([*spans, np.empty(0, np.int64)])
            fate = np.repeat(rng.random(len(spans)), sizes)
            order = np.argsort(positions)
            return positions[order], fate[order]
        units = words if self.unit == "words" else np.arange(len(words))
        draw = rng.random(units[-1] + 1 if len(units) else 0)
        positions = np.flatnonzero((draw[units] < ratio) & ~special)
        return positions, rng.random(len(positions))


def ordinary_ids(tokenizer: Tokenizer) -> Int64[np.ndarray, " ordinary"]:
    """Return the vocabulary without special tokens."""
    return np.setdiff1d(np.arange(tokenizer.vocab_size), list(tokenizer.special_ids))


def choose_spans(
    words: Int[np.ndarray, " tokens"],
    special: Bool[np.ndarray, " tokens"],
    ratio: float,
    rng: np.random.Generator,
) -> list[Positions]:
    """Choose disjoint spans of whole words with `ratio` of the ordinary tokens.

    Each begins at a random word, has a length drawn by `span_lengths`, and ends before a special
    token (so no span crosses the end of a text), before a word that is chosen already, or where the
    share is used up.
    """
    # Stochastic rounding of the number of tokens: its mean is exactly the ratio.
    left = int(ratio * np.count_nonzero(~special) + rng.random())
    if not left:
        return []
    starts = np.searchsorted(words, np.arange(words[-1] + 2))  # of each word, and the end
    free = np.ones(len(starts), bool)
    free[words[special]] = False
    free[-1] = False
    begins = rng.permutation(np.flatnonzero(free))
    spans = []
    for begin, length in zip(begins.tolist(), span_lengths(len(begins), rng), strict=True):
        end = begin
        while end < begin + length and free[end] and starts[end + 1] - starts[begin] <= left:
            end += 1
        if end > begin:
            spans.append(np.arange(starts[begin], starts[end]))
            free[begin:end] = False
            left -= len(spans[-1])
        if not left:
            break
    return spans


def span_lengths(count: int, rng: np.random.Generator) -> list[int]:
    """Draw the words of each span from a geometric distribution cut at `LONGEST_SPAN`."""
    lengths = np.arange(1, LONGEST_SPAN + 1)
    shares = (1 - SPAN_P) ** lengths
    drawn: list[int] = rng.choice(lengths, count, p=shares / shares.sum()).tolist()
    return drawn
