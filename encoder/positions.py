"""Encode the positions of tokens in five ways.

- learned: a trained vector for each position, added to the token's (BERT; RoBERTa's begin at a
  later row of the table, and a padding token that stands in the text takes the row before them);
- sinusoidal: the same with fixed waves, PE[p, 2i] = sin(p / 10000^(2i/d)), PE[p, 2i+1] = cos(…)
  (Vaswani et al. 2017, arXiv:1706.03762);
- rotary: queries and keys are turned by an angle that grows with the place, so that their product
  depends on the distance alone (RoPE, Su et al. 2021, arXiv:2104.09864);
- ALiBi: attention scores sink linearly with the distance (Press et al. 2021, arXiv:2108.12409; here
  in both directions, as an encoder looks both ways);
- relative bias: attention scores change by a learned number for each bucket of distances (Raffel et
  al. 2019, arXiv:1910.10683; MPNet adds it to learned positions).

The first two are added to the embeddings; the others act inside attention.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder.packing import PaddedSequences, Sequences

BUCKETS, FARTHEST = 32, 128
RotaryAngles = tuple[Float[Tensor, "*tokens half"], Float[Tensor, "*tokens half"]]


class PositionTable(nn.Module):
    """One vector for each place: `weight[offset + position]`."""

    weight: Float[Tensor, "rows hidden"]
    offset: int

    @property
    def num_positions(self) -> int:
        """The longest sequence for which there are rows."""
        return len(self.weight) - self.offset

    @property
    def padding_idx(self) -> int | None:
        """Return the row of padding tokens, which is not trained; None if there is none."""
        return self.offset - 1 if self.offset else None

    def forward(self, positions: Int[Tensor, "*tokens"]) -> Float[Tensor, "*tokens hidden"]:
        """Look up the vectors of `positions`."""
        return nn.functional.embedding(self.offset + positions, self.weight, self.padding_idx)


def without_padding(
    padding: Bool[Tensor, "*tokens"], sequences: Sequences | PaddedSequences
) -> Int[Tensor, "*tokens"]:
    """Number positions as RoBERTa does: `padding` tokens get −1 and are not counted."""
    return (sequences.positions - sequences.cumsum(padding)).masked_fill(padding, -1)


class LearnedPositions(PositionTable):
    """The table is a parameter."""

    def __init__(self, num_positions: int, hidden: int, offset: int = 0) -> None:
        super().__init__()
        self.offset = offset
        self.weight = nn.Parameter(torch.empty(offset + num_positions, hidden))


class SinusoidalPositions(PositionTable):
    """The table is computed, and stays as it is."""

    def __init__(self, num_positions: int, hidden: int, offset: int = 0) -> None:
        super().__init__()
        self.offset = offset
        self.register_buffer("weight", sinusoids(offset + num_positions, hidden))


def sinusoids(num_positions: int, hidden: int) -> Float[Tensor, "num_positions hidden"]:
    """PE[p, 2i] = sin(p / 10000^(2i/d)), PE[p, 2i+1] = cos(p / 10000^(2i/d))."""
    frequencies = 10_000.0 ** (-torch.arange(0, hidden, 2, dtype=torch.float64) / hidden)
    angles = torch.arange(num_positions, dtype=torch.float64)[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).float()


def rotary_angles(positions: Int[Tensor, "*tokens"], head_size: int, base: float) -> RotaryAngles:
    """cos and sin of θ[p, i] = p · base^(−2i/d), each `(*tokens, head_size / 2)`."""
    exponents = torch.arange(0, head_size, 2, device=positions.device).float() / head_size
    angles = positions[..., None].float() * (1.0 / base**exponents)
    return angles.cos(), angles.sin()


def alibi_slopes(num_heads: int) -> Float[Tensor, " heads"]:
    """2^(−8/n), 2^(−16/n) … for n heads, n a power of two.

    For another n: the slopes of the power of two below n, then every second one of the power above,
    as in the authors' code.
    """
    power = 1 << (num_heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * (i + 1) / power) for i in range(power)]
    finer = [2.0 ** (-8.0 * (i + 1) / (2 * power)) for i in range(0, 2 * power, 2)]
    return torch.tensor(slopes + finer[: num_heads - power])


class AlibiBias(nn.Module):
    """−slope · |distance|: nothing is learned."""

    slopes: Tensor

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.register_buffer("slopes", alibi_slopes(num_heads), persistent=False)

    def forward(self, length: int) -> Float[Tensor, "heads distances"]:
        """What each head adds at the distances 1 − length … length − 1."""
        return -self.slopes[:, None] * all_distances(length, self.slopes.device).abs()


class RelativeBias(nn.Module):
    """weight[bucket(distance)]: shared by all layers."""

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(BUCKETS, num_heads))

    def forward(self, length: int) -> Float[Tensor, "heads distances"]:
        """What each head adds at the distances 1 − length … length − 1."""
        buckets = bucket(all_distances(length, self.weight.device))
        return nn.functional.embedding(buckets, self.weight).T


def all_distances(length: int, device: torch.device) -> Int[Tensor, " distances"]:
    """1 − length … length − 1: from any token of a sequence to any other."""
    return torch.arange(1 - length, max(length, 1), device=device)


def bucket(distance: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Half of the buckets for each direction: one a distance while near, then ever wider ones.

    From `FARTHEST` on, all distances share the last.
    """
    each, near = BUCKETS // 2, BUCKETS // 4
    size = distance.abs()
    steps = torch.log(size.clamp(min=1).float() / near) / math.log(FARTHEST / near) * (each - near)
    wide = (near + steps.long()).clamp(max=each - 1)
    return torch.where(size < near, size, wide) + each * (distance > 0)


def check_length(length: int, num_positions: int) -> None:
    """Raise `UserError` when a sequence is longer than the table of positions."""
    if length > num_positions:
        raise UserError(
            f"a sequence has {length} tokens, but the model has {num_positions} positions: "
            f"pass max_length={num_positions} to the tokenizer"
        )
