"""Run a prepacked block of BERT as one function: its operations without the modules around them.

For a short text, Python takes half as long to call the modules as torch to compute the products.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from plainformer.encoder import ops
from plainformer.encoder.attention import MultiHeadAttention
from plainformer.encoder.attention_mask import AttentionMask, Weights
from plainformer.encoder.block import Block
from plainformer.encoder.feedforward import FeedForward
from plainformer.encoder.norm import LayerNorm
from plainformer.encoder.ops import fused
from plainformer.encoder.ops.prepacked import fused_linear
from plainformer.encoder.ops.shared_kernels import share_kernel
from plainformer.encoder.packing import Sequences
from plainformer.encoder.positions import RotaryAngles


class PrepackedBlock(Block):
    """A post-norm block for inference, from the parts of a block whose linear layers are prepacked.

    It calls its parts one by one, as `Block` does, with gradients, in the plain backend, where
    attention weights are requested, and where one of the parts has a hook.
    """

    def __init__(self, block: Block, act: str) -> None:
        attention, feed = block.attention, block.feed_forward
        first, second = block.attention_norm, block.feed_forward_norm
        super().__init__(attention, feed, first, second)
        assert isinstance(first, LayerNorm) and isinstance(second, LayerNorm)
        linear = attention.qkv, attention.output, feed.up, feed.down
        # Plain attributes: looking up those of a module takes Python longer.
        self.act, self.num_heads = act, attention.num_heads
        self.parts = (attention, feed, first, second, *linear)
        self.weights = [(layer.weight, layer.bias) for layer in linear]
        self.norms = [(norm.weight, norm.bias, norm.eps) for norm in (first, second)]

    def forward(
        self,
        x: Float[Tensor, "*tokens hidden"],
        mask: AttentionMask,
        rotary: RotaryAngles | None = None,
        output_attentions: bool = False,
        read: Int[Tensor, " read"] | None = None,
    ) -> tuple[Float[Tensor, "*outputs hidden"], Weights | None]:
        """Compute the output for the tokens `read` (None: all), and weights on request."""
        is_plain = torch.is_grad_enabled() or ops.is_plain() or self.has_hooks()
        is_other = output_attentions or rotary is not None
        if is_plain or is_other or not isinstance(mask.sequences, Sequences):
            return super().forward(x, mask, rotary, output_attentions, read)
        qkv, output, up, down = self.weights
        first, second = self.norms
        tokens, x = len(x), share_kernel(x)
        y = attend(fused_linear(x, *qkv), self.num_heads, mask, tokens)
        if read is not None:
            x, y = x.index_select(0, read), y.index_select(0, read)
        x = fused.layer_norm(fused_linear(y, *output).add_(x), *first)
        y = fused_linear(x, *up, self.act)
        x = fused.layer_norm(fused_linear(y, *down).add_(x), *second)
        return x if read is not None else x[:tokens], None

    def has_hooks(self) -> bool:
        """Return whether something watches or changes what the parts compute."""
        return any(part._forward_hooks or part._forward_pre_hooks for part in self.parts)


def attend(
    qkv: Float[Tensor, "rows entries"], num_heads: int, mask: AttentionMask, tokens: int
) -> Float[Tensor, "rows size"]:
    """Compute attention from the product that holds queries, keys and values.

    The rows after those of the tokens share their kernel: nothing attends to them.
    """
    head_size = qkv.shape[1] // (3 * num_heads)  # −1 is refused where there is no token
    parts = qkv.view(len(qkv), 3, num_heads, head_size)  # (rows, 3, heads, head_size)
    if tokens > mask.sequences.max_length or not mask.is_full:
        query, key, value = parts[:tokens].unbind(1)
        return share_kernel(fused.attention(query, key, value, mask).flatten(1))
    # One sequence: (3, 1, heads, rows, head_size)
    query, key, value = parts.permute(1, 2, 0, 3).unsqueeze(1).unbind()
    y = scaled_dot_product_attention(query, key[..., :tokens, :], value[..., :tokens, :])
    return y.transpose(1, 2).reshape(len(qkv), num_heads * head_size)


def join_parts(block: nn.Module, act: str) -> nn.Module:
    """Return a prepacked block of BERT's layers, in BERT's order, as one function.

    Any other block is returned as it is.
    """
    if (
        type(block) is Block
        and not block.pre_norm
        and type(block.attention) is MultiHeadAttention
        and type(block.feed_forward) is FeedForward
        and type(block.attention_norm) is type(block.feed_forward_norm) is LayerNorm
    ):
        attention, feed = block.attention, block.feed_forward
        linear = attention.qkv, attention.output, feed.up, feed.down
        if all(layer.weight.is_mkldnn for layer in linear):  # none has an adapter, or is in int8
            return PrepackedBlock(block, act)
    return block
