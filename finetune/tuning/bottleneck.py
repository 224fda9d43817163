"""Bottleneck adapters (Houlsby et al. 2019, arXiv:1902.00751): small layers after frozen ones.

    y = f(x)    →    y + W_up gelu(W_down y + b_down) + b_up        W_down: (size, hidden)

f is the feed-forward layer of a block (Pfeiffer et al. 2021, arXiv:2005.00247), or attention and
the feed-forward layer (Houlsby); the sum is what the block adds to its input. W_up and b_up are 0
at the start. Nothing can be merged: an adapter is not linear.

    add_adapters(model, size=64)
"""

from collections.abc import Iterator
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder import ops
from plainformer.encoder.linear import Linear
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.tuning.layers import freeze_base, refuse_added


class Bottleneck(nn.Module):
    """y + W_up gelu(W_down y + b_down) + b_up, which is y at the start."""

    def __init__(self, hidden_size: int, size: int) -> None:
        super().__init__()
        self.act = ops.ACTIVATIONS["gelu"]
        self.down = Linear(hidden_size, size)
        self.up = Linear(size, hidden_size)
        for parameter in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(parameter)

    def forward(self, y: Float[Tensor, "*tokens hidden"]) -> Float[Tensor, "*tokens hidden"]:
        """Add what the adapter computes of each token."""
        added: Tensor = self.up(self.act(self.down(y)))
        return y + added

    def added_parameters(self) -> Iterator[str]:
        """Return the names of all parameters."""
        return (name for name, _ in self.named_parameters())


def adapt(layer: nn.Module, _inputs: Any, output: Any) -> Any:
    """Pass the output of `layer` through its adapter; attention returns its weights, too."""
    adapter: Any = layer.adapter
    if isinstance(output, tuple):
        return adapter(output[0]), *output[1:]
    return adapter(output)


def add_adapters(model: PretrainedModel, size: int = 64, twice: bool = False) -> None:
    """Add an adapter after each feed-forward layer; freeze all else but the head.

    `twice`: add one after each attention, too. The model computes what it did before. Raises
    `UserError` for a size below 1, and for a model with added parameters.
    """
    if size < 1:
        raise UserError(f"size must be at least 1, not {size}")
    refuse_added(model)
    for block in model.base.blocks:
        layers: list[Any] = [block.attention, block.feed_forward]
        for layer in layers if twice else layers[1:]:
            like = next(layer.parameters())
            adapter = Bottleneck(model.config.hidden_size, size).to(like.device, like.dtype)
            layer.add_module("adapter", adapter.train(layer.training))
            layer.register_forward_hook(adapt)
    freeze_base(model)
