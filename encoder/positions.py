"""Encode the positions of tokens in five ways.

- learned: a trained vector for each position, added to the token's (BERT; in RoBERTa position 0 has
  a later row of the table, and a padding token within a text has the row before it);
- sinusoidal: fixed vectors, PE[p, 2i] = sin(p / 10000^(2i/d)), PE[p, 2i+1] = cos(p / 10000^(2i/d))
  (Vaswani et al. 2017, arXiv:1706.03762);
- rotary: queries and keys are rotated by angles proportional to the position, so that their product
  depends on the distance alone (RoPE, Su et al. 2021, arXiv:2104.09864);
- ALiBi: attention scores fall linearly with the distance (Press et al. 2021, arXiv:2108.12409;
  here in both directions);
- relative bias: a learned number for each bucket of distances is added to the attention scores
  (Raffel et al. 2019, arXiv:1910.10683; MPNet has it besides learned positions).

The first two are added to the embeddings; the others act in attention.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder.packing import PaddedSequences, Sequences

NUM_BUCKETS, MAX_DISTANCE = 32, 128
RotaryAngles = tuple[Float[Tensor, "*tokens half"], Float[Tensor, "*tokens half"]]


class PositionTable(nn.Module):
    """A table of vectors: position p has row `offset + p`."""

    weight: Float[Tensor, "rows hidden"]
    offset: int

    @property
    def num_positions(self) -> int:
        """Return the number of positions that have a row."""
        return len(self.weight) - self.offset

    @property
    def padding_idx(self) -> int | None:
        """Return the row of padding tokens, which is not trained; None without an offset."""
        return self.offset - 1 if self.offset else None

    def forward(self, positions: Int[Tensor, "*tokens"]) -> Float[Tensor, "*tokens hidden"]:
        """Look up the vectors of `positions`."""
        return nn.functional.embedding(self.offset + positions, self.weight, self.padding_idx)


def without_padding(
    padding: Bool[Tensor, "*tokens"], sequences: Sequences | PaddedSequences, start: int = 0
) -> Int[Tensor, "*tokens"]:
    """Number positions from `start` as RoBERTa does: `padding` gets −1 and is not counted."""
    return (start + sequences.positions - sequences.cumsum(padding)).masked_fill(padding, -1)


class LearnedPositions(PositionTable):
    """A trained table; zeros until it is initialised or trained."""

    def __init__(self, num_positions: int, hidden: int, offset: int = 0) -> None:
        super().__init__()
        self.offset = offset
        self.weight = nn.Parameter(torch.zeros(offset + num_positions, hidden))


class SinusoidalPositions(PositionTable):
    """A fixed table of sines and cosines."""

    def __init__(self, num_positions: int, hidden: int, offset: int = 0) -> None:
        super().__init__()
        self.offset = offset
        self.register_buffer("weight", sinusoids(offset + num_positions, hidden))


def sinusoids(num_positions: int, hidden: int) -> Float[Tensor, "num_positions hidden"]:
    """Compute PE[p, 2i] = sin(p / 10000^(2i/d)) and PE[p, 2i+1] = cos(p / 10000^(2i/d))."""
    frequencies = 10_000.0 ** (-torch.arange(0, hidden, 2, dtype=torch.float64) / hidden)
    angles = torch.arange(num_positions, dtype=torch.float64)[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).float()


def rotary_angles(
    positions: Int[Tensor, "*tokens"], head_size: int, base: float = 10_000.0
) -> RotaryAngles:
    """Compute cos θ and sin θ for θ[p, i] = p · base^(−2i/d), each `(*tokens, head_size / 2)`."""
    exponents = torch.arange(0, head_size, 2, device=positions.device).float() / head_size
    angles = positions[..., None].float() * (1.0 / base**exponents)
    return angles.cos(), angles.sin()


def alibi_slopes(num_heads: int) -> Float[Tensor, " heads"]:
    """Compute the slopes 2^(−8/n), 2^(−16/n), … of n heads, n a power of two.

    Any other n gets the slopes of the power of two below n, then every second slope of the power of
    two above, as in the authors' code.
    """
    power = 1 << (num_heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * (i + 1) / power) for i in range(power)]
    finer = [2.0 ** (-8.0 * (i + 1) / (2 * power)) for i in range(0, 2 * power, 2)]
    return torch.tensor(slopes + finer[: num_heads - power])


class AlibiBias(nn.Module):
    """The bias of ALiBi, −slope · |distance|, without parameters."""

    slopes: Tensor

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.register_buffer("slopes", alibi_slopes(num_heads), persistent=False)

    def forward(self, length: int) -> Float[Tensor, "heads distances"]:
        """Compute the bias of each head at the distances 1 − length … length − 1."""
        return -self.slopes[:, None] * all_distances(length, self.slopes.device).abs()


class RelativeBias(nn.Module):
    """A learned bias, weight[bucket(distance)], shared by all layers; zeros until initialised."""

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(NUM_BUCKETS, num_heads))

    def forward(self, length: int) -> Float[Tensor, "heads distances"]:
        """Compute the bias of each head at the distances 1 − length … length − 1."""
        buckets = bucket(all_distances(length, self.weight.device))
        return nn.functional.embedding(buckets, self.weight).T


def all_distances(length: int, device: torch.device) -> Int[Tensor, " distances"]:
    """Return the distances between tokens of a sequence: 1 − length … length − 1."""
    return torch.arange(1 - length, max(length, 1), device=device)


def bucket(distance: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Return the bucket of each distance: one half of the buckets is for each direction.

    Small distances have a bucket each; larger ones share buckets that widen logarithmically, and
    all from `MAX_DISTANCE` on the last.
    """
    each, near = NUM_BUCKETS // 2, NUM_BUCKETS // 4
    size = distance.abs()
    fraction = torch.log(size.clamp(min=1).float() / near) / math.log(MAX_DISTANCE / near)
    wide = (near + (fraction * (each - near)).long()).clamp(max=each - 1)
    return torch.where(size < near, size, wide) + each * (distance > 0)


def check_length(length: int, num_positions: int) -> None:
    """Raise `UserError` when a sequence is longer than the table of positions."""
    if length > num_positions:
        raise UserError(
            f"a sequence has {length} tokens, but the model has {num_positions} positions: "
            f"pass max_length={num_positions} to the tokenizer"
        )
