"""A trained model that is only run from here on: its matrices lie as a CPU's kernel reads them.

Nothing is rounded, and no memory is added: the blocks' weights change place once, instead of in
every product, and the activation is part of the product before it. Nothing more is learned
afterwards. What is saved are the weights as they were.
"""

from typing import Any, TypeVar

from jaxtyping import Float
from torch import Tensor, nn

from plainformer.encoder import ops
from plainformer.encoder.feedforward import FeedForward
from plainformer.encoder.linear import replace_in_blocks
from plainformer.encoder.ops.prepacked import can_prepack, prepack
from plainformer.encoder.pretrained import PretrainedModel

Model = TypeVar("Model", bound=PretrainedModel)


class PrepackedLinear(nn.Module):
    """A linear layer to be run, and the activation after it, if it has taken that over."""

    bias: Float[Tensor, " rows"] | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = prepack(linear.weight)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())
        self.act: str | None = None

    def forward(self, x: Float[Tensor, "*batch columns"]) -> Float[Tensor, "*batch rows"]:
        """act(x Wᵀ + b)."""
        return ops.prepacked_linear(x, self.weight, self.bias, self.act)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = self.weight.to_dense()
        super()._save_to_state_dict(destination, prefix, keep_vars)


def prepack_weights(model: Model) -> Model:
    """`model` with the linear layers of its blocks prepacked where they stand.

    On a GPU, in another precision, or without AVX-512 it stays as it is.
    """
    if all(can_prepack(parameter) for parameter in model.parameters()):
        replace_in_blocks(model, PrepackedLinear)
        for layer in model.modules():
            if isinstance(layer, FeedForward) and isinstance(layer.up, PrepackedLinear):
                layer.up.act, layer.act = model.config.hidden_act, nn.Identity()
    return model.requires_grad_(False).eval()
