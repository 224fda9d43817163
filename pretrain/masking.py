"""Dynamic masking: which tokens a masked language model has to guess.

A share of the tokens (15 % in BERT) is chosen; of these 80 % become [MASK], 10 % a token drawn at
random, and 10 % stay as they are: three disjoint parts of one draw (Devlin et al. 2018, §3.1).
What is chosen together is a `unit`:

- `tokens`: each token on its own (Liu et al. 2019, arXiv:1907.11692, draw anew at every step);
- `words`: all pieces of a word;
- `spans`: some words in a row, ℓ of them with p(ℓ) ∝ 0.2 · 0.8^(ℓ−1), at most 10, until the share
  is used up; a span becomes [MASK], random or stays as a whole (SpanBERT, Joshi et al. 2019,
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
Places = Int64[np.ndarray, " chosen"]


@dataclass(frozen=True)
class Masking:
    """How to mask for one tokenizer. It is a `Corruption`: the chosen tokens are asked for."""

    mask_id: int
    ordinary_ids: Int64[np.ndarray, " ordinary"]
    """the vocabulary without special tokens: what a random token is drawn from"""
    ratio: float = 0.15
    """share of the tokens that is chosen"""
    unit: Unit = "tokens"
    last_ratio: float | None = None
    """the share at the last of `steps`, where it changes in a line from step to step"""
    steps: int = 1

    @classmethod
    def of(cls, tokenizer: Tokenizer, **settings: Any) -> "Masking":
        """Mask with this tokenizer's tokens; by default as BERT did."""
        return cls(tokenizer.mask_id, ordinary_ids(tokenizer), **settings)

    def __post_init__(self) -> None:
        for ratio in (self.ratio, self.last_ratio):
            if ratio is not None and not 0 < ratio < 1:
                raise UserError(f"the masking ratio must be between 0 and 1, not {ratio}")

    def ratio_at(self, step: int) -> float:
        """The share of the tokens that is chosen in `step`, from 0."""
        if self.last_ratio is None:
            return self.ratio
        way = min(step / max(self.steps - 1, 1), 1.0)
        return self.ratio + way * (self.last_ratio - self.ratio)

    def __call__(self, text: PackedText, rng: np.random.Generator, step: int = 0) -> MaskedBatch:
        """The text with some tokens masked; asked for are those that stood there."""
        masked, places = self.mask(text.ids, text.words, text.special, rng, step)
        return text.with_targets(places, text.ids[places], shown=masked)

    def mask(
        self,
        ids: Int64[np.ndarray, " tokens"],
        words: Int[np.ndarray, " tokens"],
        special: Bool[np.ndarray, " tokens"],
        rng: np.random.Generator,
        step: int = 0,
    ) -> tuple[Int64[np.ndarray, " tokens"], Places]:
        """The ids with some of them masked, and the places of those that were chosen.

        `words` numbers the word of each token, from 0 and rising; `special` marks special tokens.
        """
        places, fate = self.choose(words, special, self.ratio_at(step), rng)
        masked = ids.copy()
        masked[places[fate < MASKED]] = self.mask_id
        drawn = places[(fate >= MASKED) & (fate < MASKED + DRAWN)]
        masked[drawn] = rng.choice(self.ordinary_ids, len(drawn))
        return masked, places

    def choose(
        self,
        words: Int[np.ndarray, " tokens"],
        special: Bool[np.ndarray, " tokens"],
        ratio: float,
        rng: np.random.Generator,
    ) -> tuple[Places, np.ndarray]:
        """The places that are chosen, and for each the number in [0, 1) that decides its fate."""
        if self.unit == "spans":
            spans = choose_spans(words, special, ratio, rng)
            sizes = [len(span) for span in spans]
            places = np.concatenate([*spans, np.empty(0, np.int64)])
            fate = np.repeat(rng.random(len(spans)), sizes)
            order = np.argsort(places)
            return places[order], fate[order]
        units = words if self.unit == "words" else np.arange(len(words))
        draw = rng.random(units[-1] + 1 if len(units) else 0)
        places = np.flatnonzero((draw[units] < ratio) & ~special)
        return places, rng.random(len(places))


def ordinary_ids(tokenizer: Tokenizer) -> Int64[np.ndarray, " ordinary"]:
    """Return the vocabulary without special tokens."""
    return np.setdiff1d(np.arange(tokenizer.vocab_size), list(tokenizer.special_ids))


def choose_spans(
    words: Int[np.ndarray, " tokens"],
    special: Bool[np.ndarray, " tokens"],
    ratio: float,
    rng: np.random.Generator,
) -> list[Places]:
    """Disjoint spans of whole words that hold `ratio` of the ordinary tokens.

    Each begins at a word drawn at random, has a length drawn by `span_lengths`, and ends before a
    special token (so no span crosses the end of a text), before a word that is chosen already, or
    where the share is used up.
    """
    # A share that is no whole number of tokens is rounded up as often as its fraction says.
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
    """Words of each span: geometric, and drawn from 1 … `LONGEST_SPAN` alone."""
    lengths = np.arange(1, LONGEST_SPAN + 1)
    shares = (1 - SPAN_P) ** lengths
    drawn: list[int] = rng.choice(lengths, count, p=shares / shares.sum()).tolist()
    return drawn
