"""The residual block: attention, then feed-forward, each added to its input.

    post-norm (BERT):     x ← norm(x + f(x))
    pre-norm (modern):    x ← x + f(norm(x))

With pre-norm, gradients reach the first layer through additions alone, which makes deep models
easier to train (Xiong et al. 2020, arXiv:2002.04745).
"""

from jaxtyping import Float
from torch import Tensor, nn

from plainformer.encoder.attention import MultiHeadAttention
from plainformer.encoder.attention_mask import AttentionMask
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.feedforward import FeedForward, GatedFeedForward
from plainformer.encoder.norm import make_norm
from plainformer.encoder.positions import RotaryAngles


class Block(nn.Module):
    """A residual block of an encoder: number `layer`, from 0."""

    def __init__(self, config: EncoderConfig, layer: int = 0) -> None:
        super().__init__()
        self.pre_norm = config.norm_order == "pre"
        self.attention = MultiHeadAttention(config)
        self.feed_forward = GatedFeedForward(config) if config.gated else FeedForward(config)
        # The embeddings are normalised already: the first block needs no pre-norm.
        first = self.pre_norm and layer == 0
        self.attention_norm = nn.Identity() if first else make_norm(config)
        self.feed_forward_norm = make_norm(config)
        self.dropout = nn.Dropout(config.hidden_dropout)

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
