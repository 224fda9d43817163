"""Denoising: put a text right of which some tokens are masked, replaced or out of order.

The recipe is that of StructBERT's word objective (Wang et al. 2019, arXiv:1908.04577): tokens are
masked as in masked language modelling, which also replaces some by random ones; of the trigrams
that this has left alone, 5 % are shuffled. The original is asked for wherever something was done.
Length stays, so each place has its own answer.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from plainformer.pretrain.batch import MaskedBatch, PackedText
from plainformer.pretrain.masking import Masking

TRIGRAM, SHUFFLED = 3, 0.05


@dataclass(frozen=True)
class Denoising:
    """How to disturb a text. It is a `Corruption`: what was disturbed is asked for."""

    masking: Masking

    def __call__(self, text: PackedText, rng: np.random.Generator, step: int = 0) -> MaskedBatch:
        """The text with tokens masked, replaced and shuffled; asked for is what stood there."""
        shown, masked = self.masking.mask(text.ids, text.words, text.special, rng, step)
        untouched = ~text.special
        untouched[masked] = False
        trigrams = choose_trigrams(untouched, rng)
        shown[trigrams] = shown[rng.permuted(trigrams, axis=1)]
        places = np.sort(np.concatenate([masked, trigrams.flatten()]))
        return text.with_targets(places, text.ids[places], shown=shown)


def choose_trigrams(
    untouched: Bool[np.ndarray, " tokens"], rng: np.random.Generator
) -> Int64[np.ndarray, "trigrams 3"]:
    """The places of disjoint trigrams, 5 % of those that are `untouched` as a whole.

    The text is cut into trigrams from one of its first three tokens on. Special tokens are never
    untouched, so no trigram holds tokens of two sequences.
    """
    first = int(rng.integers(TRIGRAM))
    count = max(len(untouched) - first, 0) // TRIGRAM
    trigrams = first + np.arange(count * TRIGRAM).reshape(count, TRIGRAM)
    chosen = (rng.random(count) < SHUFFLED) & untouched[trigrams].all(axis=1)
    return trigrams[chosen]
