"""Compute the cross entropy of a large vocabulary, which on a CPU is limited by memory bandwidth.

The exponentials of the forward pass become the gradient in place. torch's own form keeps log
softmax and writes two more tensors of its size: it takes 1.7 times as long.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from plainformer.encoder.ops.first_derivative import first_derivative_only


def cross_entropy(
    logits: Float[Tensor, "items classes"], labels: Int[Tensor, " items"]
) -> Float[Tensor, ""]:
    """Compute Σ −log softmax(logits)[label] over the items whose label is not −100."""
    if logits.device.type != "cpu" or torch.compiler.is_compiling():
        return F.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
    apply: Callable[..., Tensor] = _CrossEntropy.apply
    is_half = logits.dtype in (torch.float16, torch.bfloat16)
    return apply(logits.float() if is_half else logits, labels)


class _CrossEntropy(Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        counted = labels != -100
        index = labels.where(counted, 0)[:, None]
        top = logits.amax(-1, keepdim=True)
        exponentials = (logits - top).exp_()
        sums = exponentials.sum(-1, keepdim=True)
        ctx.save_for_backward(exponentials, sums, index, counted[:, None])
        losses = (sums.log() + top - logits.gather(-1, index)).squeeze(-1)
        return losses.where(counted, 0.0).sum()

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Compute (softmax(logits) − one-hot(label)) · gradient; 0 where the label is −100."""
        exponentials, sums, index, counted = ctx.saved_tensors
        if torch._C._autograd._get_current_graph_task_keep_graph():
            exponentials = exponentials.clone()  # retain_graph: another backward pass may follow
        scale = gradient * counted
        result = exponentials.mul_(scale / sums)  # in place: no third tensor of this size
        return result.scatter_add_(-1, index, -scale.to(result.dtype)), None
