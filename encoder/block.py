"""The residual block: attention, then feed-forward, each added to its input.

    post-norm (BERT):     x ← norm(x + f(x))
    pre-norm (modern):    x ← x + f(norm(x))

With pre-norm, gradients reach the first layer through additions alone, which makes deep models
easier to train (Xiong et al. 2020, arXiv:2002.04745).

    attention, feed_forward = MultiHeadAttention(64, num_heads=4), FeedForward(64, 256)
    block = Block(attention, feed_forward, LayerNorm(64), LayerNorm(64), norm_order="pre")
    y, _ = block(x, AttentionMask(Sequences.of([5])))  # x: (5, 64)
"""

from jaxtyping import Float
from torch import Tensor, nn

from plainformer.encoder.attention import MultiHeadAttention
from plainformer.encoder.attention_mask import AttentionMask
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
    ) -> tuple[
        Float[Tensor, "*tokens hidden"], Float[Tensor, "sequences heads queries keys"] | None
    ]:
        """Compute the output of the block, and, with `output_attentions`, the attention weights."""
        attend, feed = self.attention, self.feed_forward
        if self.pre_norm:
            y, weights = attend(self.attention_norm(x), mask, rotary, output_attentions)
            x = x + self.dropout(y)
            x = x + self.dropout(feed(self.feed_forward_norm(x)))
        else:
            y, weights = attend(x, mask, rotary, output_attentions)
            x = self.attention_norm(x + self.dropout(y))
            x = self.feed_forward_norm(x + self.dropout(feed(x)))
        return x, weights
