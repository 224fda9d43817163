"""Attribute by layer-wise relevance propagation, with the rules for transformers (Ali et al. 2022,
arXiv:2202.07304; Achtibat et al. 2024, arXiv:2402.05602).

    Rₜ = hₜ · ∂F/∂hₜ        h the embeddings of the tokens: the input of the first block

where the backward pass takes as constants

    softmax(Q Kᵀ / √d)      attention is a mean of the values, with fixed weights
    √(variance + eps)       a norm is a linear map
    act(x) / x              an activation is a scaling

and gives half of the relevance of a product (a gated unit, a cosine) to each factor. Each layer
then passes down all of the relevance that it gets, but what its constants keep. For F = log-odds,

    Σₜ Rₜ = F(x) − c + H        over all tokens, the special ones too

c is the part of the biases, and of vectors that a soft prompt or a prefix adds; H is the entropy of
the softmax over the other labels (log-odds are not linear in the logits). So relevance is exact
for a model without biases, where F is a score, a cosine, or the log-odds of one of two labels: all
of F is on the tokens. Elsewhere the gap says how much is not: most of it, often, in models with
biases in their norms, as BERT is.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from plainformer.encoder.attention import MultiHeadAttention
from plainformer.encoder.feedforward import GatedFeedForward
from plainformer.encoder.ops import use_backend
from plainformer.explain.attribution.gradients import at_output_of
from plainformer.explain.attribution.variants import Variants

NEAR_ZERO = 1e-6
"""The smallest |x| of act(x) / x: the ratio of a smaller x is that of this number."""


def relevance(variants: Variants) -> tuple[Float[np.ndarray, "decisions words"], np.ndarray]:
    """Compute the relevance of each word to each decision, and the sum over all tokens."""
    batch = variants.batch(1)
    with conserving(variants.model):
        embeddings = variants.model.base.embeddings
        found = at_output_of(embeddings, variants, batch, lambda h, g: (h * g).sum(-1))
    tokens = variants.unpacked(found, batch)
    return variants.of_words(tokens), tokens.cpu().double().sum(-1).numpy()


@contextmanager
def conserving(model: nn.Module) -> Iterator[None]:
    """Pass relevance down in place of gradients, within the context; values stay as they are."""
    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, MultiHeadAttention):
                handle = module.qkv.register_forward_hook(lambda _m, _x, y: fixed_weights(y))
                stack.callback(handle.remove)
            if isinstance(module, GatedFeedForward):
                handle = module.register_forward_hook(lambda _m, _x, y: half(y))
                stack.callback(handle.remove)
        stack.enter_context(use_backend("fused"))  # whose functions the rules replace
        stack.enter_context(_Rules())
        yield


class _Rules(TorchFunctionMode):
    """Call the rules in place of the functions of torch that they are for."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return RULES.get(function, function)(*args, **(kwargs or {}))


def fixed_weights(qkv: Float[Tensor, "*tokens width"]) -> Float[Tensor, "*tokens width"]:
    """Hold queries and keys constant, and with them the attention weights."""
    query, key, value = qkv.chunk(3, -1)
    return torch.cat([query.detach(), key.detach(), value], -1)


def half(product: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Halve the gradient of a product of two factors: each gets half of the relevance."""
    return product / 2 + (product / 2).detach()


def scaling(act: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return act(x) = x · r, with the ratio r constant."""

    def rule(x: Float[Tensor, "*shape"], **settings: Any) -> Float[Tensor, "*shape"]:
        safe = torch.where(x.abs() < NEAR_ZERO, NEAR_ZERO, x)
        return x * (act(safe, **settings) / safe).detach()

    return rule


def layer_norm(
    x: Float[Tensor, "*batch hidden"], _shape: Any, weight: Any, bias: Any, eps: float
) -> Float[Tensor, "*batch hidden"]:
    """Compute a layer norm with a constant denominator."""
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    y: Tensor = centred / (variance + eps).sqrt().detach() * weight
    return y if bias is None else y + bias


def rms_norm(
    x: Float[Tensor, "*batch hidden"], _shape: Any, weight: Any, eps: float
) -> Float[Tensor, "*batch hidden"]:
    """Compute an RMS norm with a constant denominator."""
    y: Tensor = x / (x.square().mean(-1, keepdim=True) + eps).sqrt().detach() * weight
    return y


def unit_length(x: Float[Tensor, "*batch size"], **_: Any) -> Float[Tensor, "*batch size"]:
    """Scale vectors to length 1, with constant lengths."""
    lengths: Tensor = x.norm(dim=-1, keepdim=True)
    return x / lengths.clamp(min=1e-12).detach()


def cosine(
    one: Float[Tensor, "*batch size"], other: Float[Tensor, "*batch size"], **_: Any
) -> Float[Tensor, "*batch"]:
    """Compute a cosine: a product of two vectors of constant lengths."""
    return half((unit_length(one) * unit_length(other)).sum(-1))


RULES: dict[Any, Callable[..., Tensor]] = {
    F.gelu: scaling(F.gelu),
    torch.tanh: scaling(torch.tanh),
    F.layer_norm: layer_norm,
    F.rms_norm: rms_norm,
    F.normalize: unit_length,
    F.cosine_similarity: cosine,
}
"""Functions of torch with their rules; what is linear, as ReLU between its kinks, needs none."""
