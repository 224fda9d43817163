"""Measure and bound a perturbation δ of the embeddings, sequence by sequence.

    ‖δ‖ = √ Σ δ²    over the tokens of one sequence and their hidden units

The bound holds for a sequence, not for a token and not for the batch, as in the papers of
adversarial training on texts (Miyato et al. 2017, arXiv:1605.07725, §3; Zhu et al. 2020,
arXiv:1909.11764, §3.1): what an example learns does not depend on the rest of its batch. The
windows of a long text, and the two texts of a pair that are encoded apart, are sequences of their
own.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from plainformer.encoder import Sequences
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch, Item


def no_perturbation(model: PretrainedModel, batch: Batch[Item]) -> Float[Tensor, "tokens hidden"]:
    """Return a δ of zeros for the embeddings of `batch`; it requires a gradient."""
    tokens, device = len(batch.input_ids), batch.input_ids.device
    return torch.zeros(tokens, model.config.hidden_size, device=device, requires_grad=True)


def norms(delta: Float[Tensor, "tokens hidden"], sequences: Sequences) -> Float[Tensor, "tokens 1"]:
    """Compute the norm of the sequence that each token belongs to."""
    squares = sequences.sum(delta.square().sum(-1, keepdim=True))
    return squares.sqrt()[sequences.sequence_ids]


def direction(
    gradient: Float[Tensor, "tokens hidden"], sequences: Sequences
) -> Float[Tensor, "tokens hidden"]:
    """Scale the gradient of each sequence to the norm 1; a gradient of 0 stays 0."""
    norm = norms(gradient, sequences)
    return gradient / norm.where(norm > 0, 1.0)


def project(
    delta: Float[Tensor, "tokens hidden"], sequences: Sequences, bound: float
) -> Float[Tensor, "tokens hidden"]:
    """Scale each sequence whose norm exceeds `bound` down to it: the nearest point in the ball."""
    norm = norms(delta, sequences)
    return delta * (bound / norm.where(norm > bound, bound))
