"""Prepack a model's weights for inference: store them in the layout of the CPU's kernel.

oneDNN copies a matrix into its own layout before each product; here it is copied once. Nothing is
rounded and no memory is added. The activation of a feed-forward layer becomes part of the product
before it, and a block of BERT becomes one function (`prepacked_block.py`). The model cannot be
trained, copied or pickled afterwards; saving it writes the weights in their own layout.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from jaxtyping import Float
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder import ops
from plainformer.encoder.feedforward import FeedForward
from plainformer.encoder.merge import Mergeable, linear_layers, replace_linear
from plainformer.encoder.ops.prepacked import can_prepack, prepack
from plainformer.encoder.prepacked_block import join_parts
from plainformer.encoder.pretrained import PretrainedModel

Model = TypeVar("Model", bound=PretrainedModel)


class PrepackedLinear(nn.Module):
    """A linear layer for inference, with the activation after it where `act` names one."""

    bias: Float[Tensor, " rows"] | None

    def __init__(
        self, weight: Float[Tensor, "rows columns"], bias: Float[Tensor, " rows"] | None
    ) -> None:
        super().__init__()
        self.weight = prepack(weight)
        self.register_buffer("bias", None if bias is None else bias.detach())
        self.act: str | None = None

    def forward(self, x: Float[Tensor, "*batch columns"]) -> Float[Tensor, "*batch rows"]:
        """Compute act(x Wᵀ + b)."""
        return ops.prepacked_linear(x, self.weight, self.bias, self.act)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Raise `UserError`: torch cannot copy a tensor in the kernel's layout."""
        raise UserError("a prepacked model can be neither copied nor pickled: do so before prepack")

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = self.weight.to_dense()
        super()._save_to_state_dict(destination, prefix, keep_vars)


def prepack_weights(model: Model) -> Model:
    """Prepack the linear layers in the blocks of `model`, in place; return it.

    Parameters that were added to a layer are merged into its weights. On a GPU, in another
    precision, or without AVX-512 the layers stay as they are. Raises `UserError` for a layer that
    cannot be merged.
    """
    if all(can_prepack(parameter) for parameter in model.parameters()):
        replace_linear(model.base.blocks, PrepackedLinear)
        _join(model)
    return model.requires_grad_(False).eval()


def prepack_together(models: Sequence[PretrainedModel]) -> None:
    """Prepack the linear layers of models on the same parameters, in place, each of them once.

    Parameters that were added to a layer are not merged: its weights stay as they are, in all
    models.
    """
    packable = all(can_prepack(parameter) for model in models for parameter in model.parameters())
    layers = [one for model in models for one in linear_layers(model.base.blocks, "blocks")]
    added = {id(layer.weight) for _, layer, _ in layers if isinstance(layer, Mergeable)}
    made: dict[tuple[int, int], PrepackedLinear] = {}
    for path, layer, parent in layers if packable else ():
        key = id(layer.weight), id(layer.bias)  # `layers` keeps them, so no other gets their id
        if id(layer.weight) not in added:
            if key not in made:
                made[key] = PrepackedLinear(layer.weight, layer.bias)
            setattr(parent, path.rpartition(".")[2], made[key])
    for model in models:
        _join(model)
        model.requires_grad_(False).eval()


def _join(model: PretrainedModel) -> None:
    """Move activations into the products before them, and join the parts of BERT's blocks."""
    act, blocks = model.config.hidden_act, model.base.blocks
    for layer in blocks.modules():
        if isinstance(layer, FeedForward) and isinstance(layer.up, PrepackedLinear):
            layer.up.act, layer.act = act, nn.Identity()
    for number, block in enumerate(blocks):
        blocks[number] = join_parts(block, act)
