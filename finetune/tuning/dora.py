"""DoRA (Liu et al. 2024, arXiv:2402.09353): train the length and the direction of a weight apart.

    W' = m ⊙ (W + s · B A) / ‖W + s · B A‖        ‖·‖: the norm of each row,  m = ‖W‖ at the start

The direction has the low-rank matrices of LoRA, the lengths m are trained themselves. The gradient
takes the norm for a constant (§4.3 of the paper), which saves memory.

    add_dora(model, rank=8, targets=("query", "value"))
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plainformer.encoder import ops
from plainformer.encoder.linear import Linear
from plainformer.encoder.merge import Weights
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.tuning.layers import freeze_base, replace_layers
from plainformer.finetune.tuning.lora import TARGETS, LoraLinear, lora_scale


class DoraLinear(LoraLinear):
    """A linear layer with a low-rank addition to each of `parts`, and trained norms of its rows."""

    def __init__(
        self, layer: Linear, parts: Sequence[str], rank: int, scale: float, dropout: float = 0.0
    ) -> None:
        super().__init__(layer, parts, rank, scale, dropout)
        norms = {part: self.weight.detach()[self.rows_of(part)].norm(dim=1) for part in parts}
        self.m = nn.ParameterDict(norms)

    def factor(self, part: str) -> Float[Tensor, " part_rows"]:
        """Compute m / ‖W + s · B A‖, where only m has a gradient."""
        with torch.no_grad():
            norm = (self.weight[self.rows_of(part)] + self.delta(part)).norm(dim=1)
        factor: Tensor = self.m[part] / norm.clamp_min(torch.finfo(norm.dtype).tiny)
        return factor

    def forward(self, x: Float[Tensor, "*batch columns"]) -> Float[Tensor, "*batch rows"]:
        """Compute W' x + b; only s · B A sees dropout."""
        y = ops.linear(x, self.weight, None)
        for part in self.parts:
            rows = self.rows_of(part)
            low = ops.linear(self.dropout(x), self.down(part), None)  # (*batch, rank)
            added = self.scale * ops.linear(low, self.b[part], None)
            y[..., rows] = self.factor(part).to(y.dtype) * (y[..., rows] + added)
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def merged(self) -> Weights:
        """Return W' and b."""
        weight = self.weight.clone()
        for part in self.parts:
            rows = self.rows_of(part)
            weight[rows] = self.factor(part).unsqueeze(1) * (weight[rows] + self.delta(part))
        return weight, self.bias


def add_dora(
    model: PretrainedModel,
    rank: int = 8,
    alpha: float = 16.0,
    targets: Sequence[str] = TARGETS,
    dropout: float = 0.0,
    rank_stabilised: bool = False,
) -> None:
    """Add low-rank matrices and row norms to the layers `targets`; freeze all else but the head.

    The model computes what it did before. Raises `UserError` for a name that no layer has.
    """
    scale = lora_scale(rank, alpha, rank_stabilised)
    replace_layers(
        model, targets, lambda layer, parts: DoraLinear(layer, parts, rank, scale, dropout)
    )
    freeze_base(model)
