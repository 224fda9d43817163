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

from plainformer.base import UserError
from plainformer.encoder.heads.headed_model import compute_all_tokens
from plainformer.explain.attribution.gradients import at_output_of
from plainformer.explain.attribution.variants import Variants
from plainformer.finetune.data.batch import Batch


def rollout(variants: Variants) -> Float[np.ndarray, "decisions words"]:
    """Compute the attribution of each word to each decision; none is negative.

    Raises `UserError` for a model without attention.
    """
    if not len(variants.model.base.blocks):
        raise UserError("rollout follows attention, and static vectors have none: take occlusion")
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
    encoder, sequences = variants.model.base, batch.sequences
    last = encoder.final_norm
    with compute_all_tokens(encoder):
        lengths = at_output_of(last, variants, batch, lambda _, gradient: gradient.norm(dim=-1))
    if encoder.soft_prompt is not None:  # whose vectors the layers see as tokens
        longer = sequences.prefixed(encoder.prompt_length)
        lengths = encoder.soft_prompt.remove(lengths.T, longer, sequences).T
    shares: Tensor = lengths / lengths.sum(-1, keepdim=True).clamp(min=1e-12)
    return shares
