"""Translate torch's attention to few operations of ONNX.

    softmax(Q / √d · Kᵀ + B) V

The exporter's own translation copies the keys twice, scales both factors, and replaces NaN in the
weights. There is none: no query has only hidden keys (`ops.padded`).
"""

from collections.abc import Callable
from math import inf
from typing import Any

import torch


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return the operations of torch that are translated here, each with its translation."""
    from onnxscript import opset20

    op: Any = opset20

    def attention(query: Any, key: Any, value: Any, mask: Any, *rest: Any, **options: Any) -> Any:
        """Compute attention; `mask` is true for visible keys, or holds the biases B."""
        scaled = op.Mul(query, op.Constant(value_float=query.shape[-1] ** -0.5))
        scores = op.MatMul(scaled, op.Transpose(key, perm=[0, 1, 3, 2]))
        if mask.dtype.name == "BOOL":
            no, hidden = op.Constant(value_float=0.0), op.Constant(value_float=-inf)
            mask = op.Where(mask, no, hidden)
        return op.MatMul(op.Softmax(op.Add(scores, mask), axis=-1), value)

    return {torch.ops.aten.scaled_dot_product_attention.default: attention}
