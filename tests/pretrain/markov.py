"""A language whose entropy is known: each letter depends on the one before it, and on no other.

p(x₁ … xₙ) = π(x₁) Π P[xᵢ₋₁, xᵢ]
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from plainformer.encoder import EncoderConfig
from plainformer.pretrain import MaskedBatch, Masking
from plainformer.pretrain.corpus import Shard
from plainformer.tokenizer import WordPiece

LETTERS, LENGTH, FIRST = 6, 14, 5
MASK = 4


def make_tokenizer(letters: int = LETTERS) -> WordPiece:
    return WordPiece(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(chr, range(97, 97 + letters))]
    )


def shape(letters: int = LETTERS, **changes) -> EncoderConfig:
    """A speck of a BERT without dropout."""
    return EncoderConfig(
        **{
            "vocab_size": FIRST + letters,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "max_position_embeddings": 32,
            "embedding_dropout": 0.0,
            "hidden_dropout": 0.0,
            "attention_dropout": 0.0,
            **changes,
        }
    )


@dataclass(frozen=True)
class Markov:
    """Texts of `LENGTH` letters."""

    seed: int = 0

    @cached_property
    def transition(self) -> np.ndarray:
        return np.random.default_rng(self.seed).dirichlet(np.full(LETTERS, 0.3), size=LETTERS)

    @cached_property
    def start(self) -> np.ndarray:
        return np.full(LETTERS, 1 / LETTERS)

    def shard(self, count: int, seed: int) -> Shard:
        """So many texts, as the ids of a shard."""
        rng = np.random.default_rng([self.seed, seed])
        letters = np.zeros((count, LENGTH), np.int64)
        ends = np.cumsum(self.transition, axis=1)
        letters[:, 0] = rng.integers(LETTERS, size=count)
        for i in range(1, LENGTH):
            draws = rng.random(count)[:, None]
            letters[:, i] = (draws > ends[letters[:, i - 1]]).sum(1).clip(max=LETTERS - 1)
        return shard_of(FIRST + letters)

    def entropy_of_next(self, batch: MaskedBatch) -> float:
        """Mean of −log p(next token) over what a causal batch asks for; ends are certain."""
        letters = batch.input_ids.view(len(batch.sequences.lengths), -1).numpy()[:, 1:-1] - FIRST
        steps = self.transition[letters[:, :-1], letters[:, 1:]]
        total = -np.log(self.start[letters[:, 0]]).sum() - np.log(steps).sum()
        return float(total / len(batch.labels))

    def entropy_of_masked(self, batch: MaskedBatch, masking: Masking) -> float:
        """Mean of −log p(token | masked text) over the masked places, by forward and backward.

        A reader does not know which of the letters that it sees were chosen: each may be a random
        one. Of the place that it is asked for, it knows.
        """
        rows = len(batch.sequences.lengths)
        seen = batch.input_ids.view(rows, -1).numpy()[:, 1:-1]
        same = seen[..., None] == FIRST + np.arange(LETTERS)
        chosen = np.where((seen == MASK)[..., None], 0.8, 0.1 / LETTERS + 0.1 * same)
        emitted = masking.ratio * chosen + (1 - masking.ratio) * same
        forward, backward = np.ones_like(emitted), np.ones_like(emitted)
        forward[:, 0] = self.start
        for i in range(1, LENGTH):
            forward[:, i] = (forward[:, i - 1] * emitted[:, i - 1]) @ self.transition
            j = LENGTH - 1 - i
            backward[:, j] = (backward[:, j + 1] * emitted[:, j + 1]) @ self.transition.T
        belief = forward * backward * chosen
        belief /= belief.sum(-1, keepdims=True)
        row, place = np.divmod(batch.target_positions.numpy(), LENGTH + 2)
        return float(-np.log(belief[row, place - 1, batch.labels.numpy() - FIRST]).mean())


def shard_of(ids: np.ndarray) -> Shard:
    """A shard of texts of equal length, each token a word."""
    bounds = np.arange(len(ids) + 1, dtype=np.int64) * ids.shape[1]
    return Shard(ids.flatten().astype(np.uint16), bounds, np.ones(ids.size, np.uint8))
