"""Dynamic masking: which tokens a masked language model has to guess.

A share of the tokens (15 % in BERT) is chosen; of these 80 % become [MASK], 10 % a token drawn at
random, and 10 % stay as they are: three disjoint parts of one draw (Devlin et al. 2018, §3.1). With
`whole_words`, the pieces of a word are chosen together. Special tokens are never chosen and never
drawn.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Int64

from cellar import UserError

MASKED, DRAWN = 0.8, 0.1


@dataclass(frozen=True)
class Masking:
    """How to mask for one tokenizer."""

    mask_id: int
    ordinary_ids: Int64[np.ndarray, " ordinary"]
    """the vocabulary without special tokens: what a random token is drawn from"""
    ratio: float = 0.15
    whole_words: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise UserError(f"the masking ratio must be between 0 and 1, not {self.ratio}")

    def __call__(
        self,
        ids: Int64[np.ndarray, " tokens"],
        words: Int[np.ndarray, " tokens"],
        special: Bool[np.ndarray, " tokens"],
        rng: np.random.Generator,
    ) -> tuple[Int64[np.ndarray, " tokens"], Int64[np.ndarray, " chosen"]]:
        """The ids with some of them masked, and the places of those that were chosen.

        `words` numbers the word of each token, from 0 and rising; `special` marks special tokens.
        """
        units = words if self.whole_words else np.arange(len(ids))
        draw = rng.random(units[-1] + 1 if len(ids) else 0)
        places = np.flatnonzero((draw[units] < self.ratio) & ~special)
        fate = rng.random(len(places))
        masked = ids.copy()
        masked[places[fate < MASKED]] = self.mask_id
        drawn = places[(fate >= MASKED) & (fate < MASKED + DRAWN)]
        masked[drawn] = rng.choice(self.ordinary_ids, len(drawn))
        return masked, places
