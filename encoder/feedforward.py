"""The feed-forward layer: two linear layers with an activation between, for each token alone.

plain:  W_down act(W_up x)
gated:  W_down (act(g) · u),   [g u] = W_up x      (GeGLU, Shazeer 2020, arXiv:2002.05202)
"""

from jaxtyping import Float
from torch import Tensor, nn

from plainformer.encoder import ops
from plainformer.encoder.config import Activation
from plainformer.encoder.linear import Linear


class FeedForward(nn.Module):
    """W_down act(W_up x): up to `intermediate_size`, and down to `hidden_size`."""

    def __init__(
        self,
        hidden_size: int,
        intermediate_size: int,
        *,
        activation: Activation = "gelu",
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.act = ops.ACTIVATIONS[activation]
        self.up = Linear(hidden_size, intermediate_size, bias)
        self.down = Linear(intermediate_size, hidden_size, bias)

    def forward(self, x: Float[Tensor, "*tokens hidden"]) -> Float[Tensor, "*tokens hidden"]:
        """Apply the layer to each token."""
        y: Tensor = self.down(self.act(self.up(x)))
        return y


class GatedFeedForward(nn.Module):
    """W_down (act(g) · u), where one product gives both the gate g and u."""

    def __init__(
        self,
        hidden_size: int,
        intermediate_size: int,
        *,
        activation: Activation = "gelu",
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.act = ops.ACTIVATIONS[activation]
        self.up = Linear(hidden_size, 2 * intermediate_size, bias, fused_parts=("gate", "up"))
        self.down = Linear(intermediate_size, hidden_size, bias)

    def forward(self, x: Float[Tensor, "*tokens hidden"]) -> Float[Tensor, "*tokens hidden"]:
        """Apply the layer to each token."""
        gate, up = self.up(x).chunk(2, dim=-1)  # 2 × (*tokens, intermediate)
        y: Tensor = self.down(self.act(gate) * up)
        return y
