"""Attribute by attention rollout (Abnar and Zuidema 2020, arXiv:2005.00928).

    R = Π over the layers of ½ (I + Ā),    Ā the mean of a layer's heads;    a = wᵀ R

R tells how much of each token arrives, by attention and by the residual, at each place of the last
layer. w says what the decision reads there: the share of each token in the length of its gradient,
‖∂F/∂hₜ‖, which is the first token alone for most classifiers. What the values and the feed-forward
layers do with the tokens is left out, so rollout tells no sign, and promises no sum.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from plainformer.explain.attribution.variants import Variants
from plainformer.finetune.data.batch import Batch


def rollout(variants: Variants) -> Float[np.ndarray, "decisions words"]:
    """Compute the attribution of each word to each decision; none is negative."""
    batch = variants.batch(1)
    encoder = variants.model.base
    with torch.no_grad():
        output = encoder(
            batch.input_ids, None, batch.token_type_ids, batch.sequences, output_attentions=True
        )
    flow: Tensor | None = None
    for weights in output.attentions:  # (sequences, heads, length, length)
        mean = weights.mean(1)
        step = (torch.eye(mean.shape[-1], device=mean.device) + mean) / 2
        flow = step if flow is None else step @ flow
    assert flow is not None
    read = reading(variants, batch)  # (decisions, tokens), packed
    rows = batch.sequences.pad(read.T)  # (sequences, length, decisions)
    arrived = torch.einsum("sld,slk->skd", rows, flow)
    packed = batch.sequences.unpad(arrived).T  # (decisions, tokens)
    return variants.of_words(variants.unpacked(packed, batch))


def reading(variants: Variants, batch: Batch[Any]) -> Float[Tensor, "decisions tokens"]:
    """Compute the share of each token of the last layer in what each decision reads."""
    kept: list[Tensor] = []

    def keep(_module: object, _inputs: object, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[0]

    last = variants.model.base.final_norm
    handle = last.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            outputs = variants.task.outputs(variants.model, batch)
            numbers = [one.value(outputs, batch).sum() for one in variants.decisions]
            found = [torch.autograd.grad(n, kept[0], retain_graph=True)[0] for n in numbers]
    finally:
        handle.remove()
    lengths = torch.stack(found).norm(dim=-1)  # (decisions, tokens)
    shares: Tensor = lengths / lengths.sum(-1, keepdim=True).clamp(min=1e-12)
    return shares
