"""Multi-head self-attention: a weighted mean of the values of the tokens of a sequence.

    Attention(X) = concat(head₁ … headₙ) W_O
    headᵢ = softmax(Qᵢ Kᵢᵀ / √d + B) Vᵢ,    [Q K V] = X [W_Q W_K W_V]

(Vaswani et al. 2017, arXiv:1706.03762). B is the bias of ALiBi or of learned relative positions,
and −∞ for keys that the mask hides; rotary positions rotate Q and K before the product.
"""

from jaxtyping import Float
from torch import Tensor, nn

from plainformer.encoder import ops
from plainformer.encoder.attention_mask import AttentionMask
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.linear import Linear
from plainformer.encoder.positions import RotaryAngles


class MultiHeadAttention(nn.Module):
    """The self-attention of a block: all heads in one product."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.dropout = config.attention_dropout
        self.qkv = Linear(hidden, 3 * hidden, config.bias, fused_parts=("query", "key", "value"))
        self.output = Linear(hidden, hidden, bias=config.bias)

    def forward(
        self,
        x: Float[Tensor, "*tokens hidden"],
        mask: AttentionMask,
        rotary: RotaryAngles | None = None,
        output_attentions: bool = False,
    ) -> tuple[
        Float[Tensor, "*tokens hidden"], Float[Tensor, "sequences heads queries keys"] | None
    ]:
        """Compute the attended vectors, and, with `output_attentions`, the attention weights."""
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))  # (*tokens, 3, heads, head_size)
        query_key, value = qkv[..., :2, :, :], qkv[..., 2, :, :]
        if rotary is not None:
            query_key = ops.rotate(query_key, *rotary)
        query, key = query_key.unbind(-3)
        dropout = self.dropout if self.training else 0.0
        weights = None
        if output_attentions:
            heads, weights = ops.attention_with_weights(query, key, value, mask, dropout)
        else:
            heads = ops.attention(query, key, value, mask, dropout)
        return self.output(heads.flatten(-2)), weights
