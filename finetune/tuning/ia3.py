"""IA³ (Liu et al. 2022, arXiv:2205.05638): learn to scale what a layer computes.

    keys            l_k ⊙ (W_k x + b_k)
    values          l_v ⊙ (W_v x + b_v)
    feed-forward    W_down (l_ff ⊙ h) + b_down        h: the inner activations

The vectors l are 1 at the start. They are merged into the weights exactly: into the rows of W and
b, or the columns of W_down.

    add_ia3(model)
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from plainformer.encoder.linear import Linear
from plainformer.encoder.merge import Weights
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.tuning.layers import TunedLinear, freeze_base, replace_layers

TARGETS = ("key", "value", "down")


class ScaledLinear(TunedLinear):
    """A linear layer with learned scales of its output, in the rows of `parts`, or of its input."""

    def __init__(self, layer: Linear, parts: Sequence[str], scales_input: bool = False) -> None:
        super().__init__(layer)
        self.parts, self.scales_input = tuple(parts), scales_input
        ones = self.weight.new_ones(self.in_features if scales_input else self.out_features)
        rows = {part: slice(None) if scales_input else self.rows_of(part) for part in parts}
        self.scales = nn.ParameterDict({part: ones[rows[part]].clone() for part in parts})

    def scale(self) -> Float[Tensor, " features"]:
        """Return the scale of each entry of the input or of the output; 1 for rows of no part."""
        if self.scales_input:
            scale: Tensor = self.scales[self.parts[0]]
            return scale
        scale = self.weight.new_ones(self.out_features)
        for part in self.parts:
            scale[self.rows_of(part)] = self.scales[part]
        return scale

    def forward(self, x: Float[Tensor, "*batch columns"]) -> Float[Tensor, "*batch rows"]:
        """Compute W (l ⊙ x) + b, or l ⊙ (W x + b)."""
        if self.scales_input:
            return super().forward(x * self.scale().to(x.dtype))
        y = super().forward(x)
        return y * self.scale().to(y.dtype)

    def merged(self) -> Weights:
        """Return the scaled W and b."""
        scale = self.scale()
        if self.scales_input:
            return self.weight * scale, self.bias
        return self.weight * scale[:, None], None if self.bias is None else self.bias * scale


def add_ia3(model: PretrainedModel) -> None:
    """Add scales of keys, values and inner activations; freeze all else but the head.

    The model computes what it did before. Raises `UserError` where it has added parameters already.
    """
    replace_layers(model, TARGETS, lambda layer, parts: ScaledLinear(layer, parts, "down" in parts))
    freeze_base(model)
