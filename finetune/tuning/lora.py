"""LoRA (Hu et al. 2021, arXiv:2106.09685): add the product of two thin matrices to a frozen one.

    y = W x + b + s · B A x        A: (rank, columns), random    B: (rows, rank), 0 at the start
    s = alpha / rank,  or alpha / √rank where rank-stabilised (Kalajdzievski 2023, arXiv:2312.03732)

Of W (rows, columns) only rank · (rows + columns) numbers are trained. Before A, and only there, x
passes dropout. Merged, W + s · B A costs nothing at inference.

    add_lora(model, rank=8, targets=("query", "value"))
"""

import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder import ops
from plainformer.encoder.linear import Linear
from plainformer.encoder.merge import Weights
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.tuning.layers import TunedLinear, freeze_base, replace_layers

TARGETS = ("query", "value")


class LoraLinear(TunedLinear):
    """A linear layer with low-rank additions: one for each of `parts`, with its own A and B."""

    def __init__(
        self, layer: Linear, parts: Sequence[str], rank: int, scale: float, dropout: float = 0.0
    ) -> None:
        super().__init__(layer)
        self.parts, self.rank, self.scale = tuple(parts), rank, scale
        self.dropout = nn.Dropout(dropout)
        new = self.weight.new_empty
        self.a = nn.ParameterDict({part: new(rank, self.in_features) for part in parts})
        self.b = nn.ParameterDict({part: new(self.num_rows(part), rank) for part in parts})
        for a, b in zip(self.a.values(), self.b.values(), strict=True):
            nn.init.kaiming_uniform_(a, a=math.sqrt(5))  # uniform within ± 1 / √columns
            nn.init.zeros_(b)

    def num_rows(self, part: str) -> int:
        """Return the number of rows of a part."""
        rows = self.rows_of(part)
        return int(rows.stop - rows.start)

    def forward(self, x: Float[Tensor, "*batch columns"]) -> Float[Tensor, "*batch rows"]:
        """Compute W x + b + s · B A x, the last for each part."""
        y = super().forward(x)
        for part in self.parts:
            low = ops.linear(self.dropout(x), self.down(part), None)  # (*batch, rank)
            y[..., self.rows_of(part)] += self.scale * ops.linear(low, self.b[part], None)
        return y

    def down(self, part: str) -> Float[Tensor, "rank columns"]:
        """Return A of a part."""
        down: Tensor = self.a[part]
        return down

    def delta(self, part: str) -> Float[Tensor, "part_rows columns"]:
        """Compute s · B A of a part."""
        delta: Tensor = self.scale * (self.b[part] @ self.down(part))
        return delta

    def merged(self) -> Weights:
        """Return W + s · B A, and b."""
        weight = self.weight.clone()
        for part in self.parts:
            weight[self.rows_of(part)] += self.delta(part)
        return weight, self.bias


def lora_scale(rank: int, alpha: float, rank_stabilised: bool) -> float:
    """Return the factor s of B A; raise `UserError` for a rank below 1."""
    if rank < 1:
        raise UserError(f"rank must be at least 1, not {rank}")
    return alpha / (math.sqrt(rank) if rank_stabilised else rank)


def add_lora(
    model: PretrainedModel,
    rank: int = 8,
    alpha: float = 16.0,
    targets: Sequence[str] = TARGETS,
    dropout: float = 0.0,
    rank_stabilised: bool = False,
) -> None:
    """Add low-rank matrices to the layers `targets` in the blocks; freeze all else but the head.

    The model computes what it did before. Raises `UserError` for a name that no layer has.
    """
    scale = lora_scale(rank, alpha, rank_stabilised)
    replace_layers(
        model, targets, lambda layer, parts: LoraLinear(layer, parts, rank, scale, dropout)
    )
    freeze_base(model)
