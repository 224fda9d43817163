"""The residual block: attention, then feed-forward, each added to its input.

    post-norm (BERT):     x ← norm(x + f(x))
    pre-norm (modern):    x ← x + f(norm(x))

With pre-norm, gradients reach the first layer through additions alone, which makes deep models
easier to train (Xiong et al. 2020, arXiv:2002.04745).

    attention, feed_forward = MultiHeadAttention(64, num_heads=4), FeedForward(64, 256)
    block = Block(attention, feed_forward, LayerNorm(64), LayerNorm(64), norm_order="pre")
    y, _ = block(x, AttentionMask(Sequences.of([5])))  # x: (5, 64)
"""

from jaxtyping import Float, Int
from torch import Tensor, nn

from plainformer.encoder.attention import MultiHeadAttention
from plainformer.encoder.attention_mask import AttentionMask, Weights
from plainformer.encoder.config import NormOrder
from plainformer.encoder.feedforward import FeedForward, GatedFeedForward
from plainformer.encoder.positions import RotaryAngles


class Block(nn.Module):
    """A residual block of an encoder, from its parts; `nn.Identity()` in place of a norm is none.

    `dropout`: probability that an entry of what is added to the input is set to zero in training.
    """

    def __init__(
        self,
        attention: MultiHeadAttention,
        feed_forward: FeedForward | GatedFeedForward,
        attention_norm: nn.Module,
        feed_forward_norm: nn.Module,
        *,
        norm_order: NormOrder = "post",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.pre_norm = norm_order == "pre"
        self.attention = attention
        self.feed_forward = feed_forward
        self.attention_norm = attention_norm
        self.feed_forward_norm = feed_forward_norm
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "*tokens hidden"],
        mask: AttentionMask,
        rotary: RotaryAngles | None = None,
        output_attentions: bool = False,
        read: Int[Tensor, " read"] | None = None,
    ) -> tuple[Float[Tensor, "*outputs hidden"], Weights | None]:
        """Compute the output for the tokens `read` (None: all), and weights on request."""
        feed, normed = self.feed_forward, self.attention_norm(x) if self.pre_norm else x
        y, weights = self.attention(normed, mask, rotary, output_attentions, read)
        x = (x if read is None else x.index_select(0, read)) + self.dropout(y)
        if self.pre_norm:
            x = x + self.dropout(feed(self.feed_forward_norm(x)))
        else:
            x = self.attention_norm(x)
            x = self.feed_forward_norm(x + self.dropout(feed(x)))
        return x, weights
