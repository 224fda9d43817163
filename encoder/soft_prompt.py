"""Insert learned vectors before each text, in the places of tokens, and remove their outputs.

    p p p | a b c        p: the vectors    a b c: a text
    0 1 2   3 4 5        positions; the vectors are in segment 0

What follows computes them as tokens: they attend, and are attended to, as far as windows and
distances allow. They are not among the outputs, hidden states and attention weights of the encoder.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plainformer.encoder.embeddings import Embeddings
from plainformer.encoder.packing import PaddedSequences, Sequences


class SoftPrompt(nn.Module):
    """Learned vectors of the size of the token table, which stand before each text."""

    def __init__(self, vectors: Float[Tensor, "prompt size"]) -> None:
        super().__init__()
        self.vectors = nn.Parameter(vectors)

    @property
    def length(self) -> int:
        """Return the number of vectors."""
        return len(self.vectors)

    def added_parameters(self) -> Iterator[str]:
        """Return the name of the vectors."""
        return iter(("vectors",))

    def insert(
        self,
        x: Float[Tensor, "*tokens hidden"],
        sequences: Sequences | PaddedSequences,
        embeddings: Embeddings,
    ) -> tuple[Float[Tensor, "*entries hidden"], Sequences | PaddedSequences]:
        """Insert the embeddings of the vectors before those of each text; return both's bounds."""
        padded = sequences.pad(x)  # (sequences, length, hidden)
        vectors = self.vectors.expand(padded.shape[0], -1, -1)  # (sequences, prompt, size)
        real = torch.ones(vectors.shape[:2], dtype=torch.bool, device=x.device)
        # Not a call of the module: what hooks add to the embeddings is meant for tokens.
        before = embeddings.forward(None, None, PaddedSequences(real), vectors)
        longer = sequences.prefixed(self.length)
        return longer.unpad(torch.cat([before, padded], 1)), longer

    def remove(
        self,
        x: Float[Tensor, "*entries hidden"],
        longer: Sequences | PaddedSequences,
        sequences: Sequences | PaddedSequences,
    ) -> Float[Tensor, "*tokens hidden"]:
        """Remove the entries of the vectors."""
        return sequences.unpad(longer.pad(x)[:, self.length :])

    def remove_weights(
        self, weights: Float[Tensor, "sequences heads queries keys"] | None
    ) -> Float[Tensor, "sequences heads length length"] | None:
        """Remove the rows and columns of the vectors from attention weights."""
        return None if weights is None else weights[..., self.length :, self.length :]
