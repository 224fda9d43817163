"""Quantise the blocks of a model to 8-bit integers for inference: a quarter of the bytes, for CPUs.

    W ≈ scale · W_q,   scale = max |W| / 127 of each row

The input of a layer is quantised as it comes, token by token: see `encoder.ops.int8`. Embeddings,
norms, attention and heads stay as they are. The model cannot be trained afterwards; it is saved and
loaded as it is (see `weights.storage`).
"""

from typing import TypeVar

from plainformer.base import UserError
from plainformer.encoder.int8_linear import Int8Linear
from plainformer.encoder.int8_static_linear import StaticLinear
from plainformer.encoder.merge import replace_linear
from plainformer.encoder.pretrained import PretrainedModel

Model = TypeVar("Model", bound=PretrainedModel)


def quantize_int8(model: Model) -> Model:
    """Quantise the linear layers in the blocks of `model`, in place; return it.

    Parameters that were added to a layer are merged into its weights. Raises `UserError` for a
    layer that cannot be merged.
    """
    replace_linear(model.base.blocks, Int8Linear)
    return model.requires_grad_(False).eval()


def is_int8(model: PretrainedModel) -> bool:
    """Tell whether layers of a model were quantised."""
    return any(isinstance(module, Int8Linear | StaticLinear) for module in model.modules())


def refuse_int8(model: PretrainedModel) -> None:
    """Raise `UserError` for a quantised model, which cannot be trained."""
    if is_int8(model):
        raise UserError(
            "a model in int8 cannot be trained: train the one of which it was made, and round that"
        )
