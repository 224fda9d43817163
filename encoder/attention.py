"""Multi-head self-attention: a weighted mean of the values of the tokens of a sequence.

    Attention(X) = concat(head₁ … headₙ) W_O
    headᵢ = softmax(Qᵢ Kᵢᵀ / √d + B) Vᵢ,    [Q K V] = X [W_Q W_K W_V]

(Vaswani et al. 2017, arXiv:1706.03762). B is the bias of ALiBi or of learned relative positions,
and −∞ for keys that the mask hides; rotary positions rotate Q and K before the product.

    attention = MultiHeadAttention(hidden_size=64, num_heads=4)
    y, _ = attention(x, AttentionMask(Sequences.of([3, 5])))  # x: (8, 64), two sequences, packed
    y, _ = attention(x, AttentionMask(PaddedSequences(is_token)))  # x: (2, 5, 64), padded
"""

from jaxtyping import Float, Int
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder import ops
from plainformer.encoder.attention_mask import AttentionMask, Heads, Keys, Weights
from plainformer.encoder.linear import Linear
from plainformer.encoder.positions import RotaryAngles


class MultiHeadAttention(nn.Module):
    """Self-attention with `num_heads` heads.

    `attention_size`: entries of the vectors of all heads together; by default `hidden_size`.
    `dropout`: probability that an attention weight is set to zero while training.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        *,
        attention_size: int | None = None,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        size = attention_size or hidden_size
        if size % num_heads:
            name = "attention_size" if attention_size else "hidden_size"
            raise UserError(f"{name} {size} is not divisible by num_heads {num_heads}")
        self.num_heads = num_heads
        self.dropout = dropout
        parts = ("query", "key", "value")  # one product computes all three, for all heads
        self.qkv = Linear(hidden_size, 3 * size, bias, fused_parts=parts)
        self.output = Linear(size, hidden_size, bias)

    def forward(
        self,
        x: Float[Tensor, "*tokens hidden"],
        mask: AttentionMask,
        rotary: RotaryAngles | None = None,
        output_attentions: bool = False,
        read: Int[Tensor, " read"] | None = None,
    ) -> tuple[Float[Tensor, "*outputs hidden"], Weights | None]:
        """Compute the attended vectors of the tokens `read` (None: all), and weights on request."""
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))  # (*tokens, 3, heads, head_size)
        query_key, value = qkv[..., :2, :, :], qkv[..., 2, :, :]
        if rotary is not None:
            query_key = ops.rotate(query_key, *rotary)
        query, key = query_key.unbind(-3)
        heads, weights = self.attend(query, key, value, mask, output_attentions)
        heads = heads.flatten(-2)
        return self.output(heads if read is None else heads.index_select(0, read)), weights

    def attend(
        self, query: Heads, key: Keys, value: Keys, mask: AttentionMask, output_attentions: bool
    ) -> tuple[Heads, Weights | None]:
        """Compute the weighted means of the values, and, if requested, the weights."""
        dropout = self.dropout if self.training else 0.0
        if output_attentions:
            return ops.attention_with_weights(query, key, value, mask, dropout)
        return ops.attention(query, key, value, mask, dropout), None
