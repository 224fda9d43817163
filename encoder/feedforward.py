"""The feed-forward layer: each token by itself, up to a wider space and down again.

plain:  W_down act(W_up x)
gated:  W_down (act(a) · g),   [a g] = W_up x      (GeGLU, Shazeer 2020, arXiv:2002.05202)
"""

from jaxtyping import Float
from torch import Tensor, nn

from plainformer.encoder import ops
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.linear import Linear


class FeedForward(nn.Module):
    """W_down act(W_up x)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        hidden, wide = config.hidden_size, config.intermediate_size
        self.act = ops.ACTIVATIONS[config.hidden_act]
        self.up = Linear(hidden, wide, bias=config.bias)
        self.down = Linear(wide, hidden, bias=config.bias)

    def forward(self, x: Float[Tensor, "*tokens hidden"]) -> Float[Tensor, "*tokens hidden"]:
        """Shape: as it came."""
        y: Tensor = self.down(self.act(self.up(x)))
        return y


class GatedFeedForward(nn.Module):
    """W_down (act(a) · g), where W_up gives both a and the gate g."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        hidden, wide = config.hidden_size, config.intermediate_size
        self.act = ops.ACTIVATIONS[config.hidden_act]
        self.up = Linear(hidden, 2 * wide, config.bias, fused_parts=("gate", "up"))
        self.down = Linear(wide, hidden, bias=config.bias)

    def forward(self, x: Float[Tensor, "*tokens hidden"]) -> Float[Tensor, "*tokens hidden"]:
        """Shape: as it came."""
        a, gate = self.up(x).chunk(2, dim=-1)
        y: Tensor = self.down(self.act(a) * gate)
        return y
