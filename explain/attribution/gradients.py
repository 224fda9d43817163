"""Attribute by the gradient at the input: gradient × input (Shrikumar et al. 2016,
arXiv:1605.01713).

    aₜ = (xₜ − bₜ) · ∂F/∂xₜ        x the token vectors, b those of the baseline, F the decision

The first-order estimate of what F loses when token t is masked; one forward and one backward pass.
With b = 0, the usual choice for images, it would say little: the norm after the embeddings takes
the scale of x away, so the gradient is nearly at right angles to x.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from plainformer.explain.attribution.variants import Variants
from plainformer.finetune.data.batch import Batch

Reduce = Callable[
    [Float[Tensor, "tokens hidden"], Float[Tensor, "tokens hidden"]], Float[Tensor, " tokens"]
]
"""Compute a number for each token from its vector and the gradient there."""


def gradient_x_input(variants: Variants) -> Float[np.ndarray, "decisions words"]:
    """Compute the attribution of each word to each decision."""
    products: Float[np.ndarray, "decisions words"] = variants.products([1.0])[0]
    return products


def at_output_of(
    module: nn.Module, variants: Variants, batch: Batch[Any], reduce: Reduce
) -> Float[Tensor, "decisions tokens"]:
    """Reduce the vectors that a module gives the tokens, with the gradients of each decision."""
    kept: list[Tensor] = []

    def keep(_module: object, _inputs: object, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[0]

    handle = module.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            numbers = variants.numbers(batch)
        (x,) = kept
        rows = [
            reduce(x.detach(), torch.autograd.grad(n, x, retain_graph=True)[0]) for n in numbers
        ]
    finally:
        handle.remove()
    return torch.stack(rows)
