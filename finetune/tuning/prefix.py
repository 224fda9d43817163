"""Prefix tuning (Li & Liang 2021, arXiv:2101.00190): learn keys and values before each sequence.

    head = softmax(Q [P_k; K]ᵀ / √d) [P_v; V]        P_k, P_v: (prefix, heads, head_size), learned

Each layer has its own; every token sees them, at no position and in no window. Nothing can be
merged. The MLP from which the paper computes P_k and P_v in training is left out.

Texts keep their positions. `peft` numbers them after the prefix, unless it is given other positions
with each batch, and refuses models without a cache of keys, such as ModernBERT: the same prefix
gives other answers there, and the folder has a layout of its own.

    add_prefix(model, length=20)
"""

from collections.abc import Iterator
from dataclasses import replace

from jaxtyping import Float
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder.attention import MultiHeadAttention
from plainformer.encoder.attention_mask import AttentionMask, Heads, Keys
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.tuning.layers import freeze_base, refuse_added


class PrefixAttention(MultiHeadAttention):
    """Self-attention whose queries see `length` learned keys and values besides."""

    def __init__(self, layer: MultiHeadAttention, length: int, std: float) -> None:
        nn.Module.__init__(self)  # the parameters are those of the layer
        self.num_heads, self.dropout = layer.num_heads, layer.dropout
        self.qkv, self.output, self.length = layer.qkv, layer.output, length
        shape = length, self.num_heads, layer.output.in_features // self.num_heads
        new = layer.output.weight.new_empty
        self.keys = nn.Parameter(nn.init.normal_(new(shape), std=std))
        self.values = nn.Parameter(nn.init.normal_(new(shape), std=std))
        self.train(layer.training)

    def added_parameters(self) -> Iterator[str]:
        """Return the names of the learned keys and values."""
        return iter(("keys", "values"))

    def attend(
        self, query: Heads, key: Keys, value: Keys, mask: AttentionMask, output_attentions: bool
    ) -> tuple[Heads, Float[Tensor, "sequences heads queries keys"] | None]:
        """Let the queries see the learned keys too; return the weights of the tokens alone."""
        mask = replace(mask, prefix=self.length)
        key = mask.prepend(self.keys.to(key.dtype), key)
        value = mask.prepend(self.values.to(value.dtype), value)
        heads, weights = super().attend(query, key, value, mask, output_attentions)
        return heads, None if weights is None else weights[..., self.length :]


def add_prefix(model: PretrainedModel, length: int = 20) -> None:
    """Put learned keys and values into each attention; freeze all else but the head.

    Raises `UserError` for a length below 1, and for a model with added parameters.
    """
    if length < 1:
        raise UserError(f"length must be at least 1, not {length}")
    refuse_added(model)
    for block in model.base.blocks:
        assert isinstance(block.attention, MultiHeadAttention)
        std = model.config.initializer_range
        block.attention = PrefixAttention(block.attention, length, std)
    freeze_base(model)
