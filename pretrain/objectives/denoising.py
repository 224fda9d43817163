"""Denoising: restore a text in which tokens are masked, replaced or out of order.

This is StructBERT's word objective (Wang et al. 2019, arXiv:1908.04577): tokens are masked as in
masked language modelling, which also replaces some by random ones; of the trigrams that remain,
5 % are shuffled. The targets are the original tokens at all changed positions. The length stays the
same, so each position has one target.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from plainformer.pretrain.batch import Corruption, MaskedBatch, PackedText
from plainformer.pretrain.masking import Masking
from plainformer.pretrain.objectives.base import MASKING_OPTIONS
from plainformer.pretrain.objectives.masked_lm import MaskedLMObjective

TRIGRAM, SHUFFLED = 3, 0.05


@dataclass(frozen=True)
class Denoising:
    """Mask, replace and shuffle tokens; the targets are the originals. A `Corruption`."""

    masking: Masking

    def __call__(self, text: PackedText, rng: np.random.Generator, step: int = 0) -> MaskedBatch:
        """Return the corrupted text with the original tokens as targets."""
        shown, masked = self.masking.mask(text.ids, text.words, text.special, rng, step)
        untouched = ~text.special
        untouched[masked] = False
        trigrams = choose_trigrams(untouched, rng)
        shown[trigrams] = shown[rng.permuted(trigrams, axis=1)]
        positions = np.sort(np.concatenate([masked, trigrams.flatten()]))
        return text.with_targets(positions, text.ids[positions], shown=shown)


def choose_trigrams(
    untouched: Bool[np.ndarray, " tokens"], rng: np.random.Generator
) -> Int64[np.ndarray, "trigrams 3"]:
    """Draw the positions of disjoint trigrams: 5 % of those that are `untouched` as a whole.

    The text is cut into trigrams from one of its first three tokens on. Special tokens are never
    untouched, so no trigram holds tokens of two sequences.
    """
    first = int(rng.integers(TRIGRAM))
    count = max(len(untouched) - first, 0) // TRIGRAM
    trigrams = first + np.arange(count * TRIGRAM).reshape(count, TRIGRAM)
    chosen = (rng.random(count) < SHUFFLED) & untouched[trigrams].all(axis=1)
    return trigrams[chosen]


class DenoisingObjective(MaskedLMObjective):
    """Restore masked, replaced and shuffled tokens: masked language modelling on other batches."""

    name = "denoise"
    options = MASKING_OPTIONS
    unit = "corrupted token"

    def corrupt(self, masking: Masking) -> Corruption:
        """Mask tokens, and shuffle trigrams."""
        return Denoising(masking)
