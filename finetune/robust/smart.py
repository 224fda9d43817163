"""SMART: small changes of the embeddings shall change the predictions little (Jiang et al. 2020).

    loss = L(x) + λ R,    R = max over ‖δ‖∞ ≤ ε of  D(f(x + δ), f(x)),    D = KL(p ‖ q) + KL(q ‖ p)

x are the embeddings and f(x) the predictions, whose labels R does not read (arXiv:1911.03437, eq.
2 and 3; a task that predicts no probabilities has a distance in place of KL: its `divergence`). δ
is found by one step of ascent, from noise, since D has the gradient 0 at δ = 0:

    δ₀ ~ N(0, (ε/10)²),    δ = Π(δ₀ + ε g / ‖g‖∞),    g = ∇_δ D(f(x + δ₀), f(x))

‖g‖∞ is the largest entry of a sequence, and Π cuts each entry of δ at ±ε, by default 0.01: beside
entries of x around 1, bf16 would lose the paper's 1e-5. All passes of a batch have the same
dropout: D would otherwise be that of R-Drop. The second part of the paper, which keeps the weights
near those of earlier steps (Bregman proximal point), is left out.

A step costs three forward passes and three backward passes, one of them within the forward pass,
which a sharded model (fsdp) does not allow.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from plainformer.encoder import Sequences
from plainformer.encoder.embedding_offset import embedding_offset
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.robust.perturbation import no_perturbation
from plainformer.finetune.task_objective import TaskObjective
from plainformer.training import Loss

NOISE = 0.1
"""The standard deviation of the noise, as a share of ε."""


def smart(objective: TaskObjective, weight: float = 1.0, epsilon: float = 0.01) -> TaskObjective:
    """Add `weight` times the divergence of the worst embeddings within `epsilon` ("smart")."""

    def compute(model: PretrainedModel, batch: Batch[Any]) -> tuple[Any, Loss]:
        delta = no_perturbation(model, batch)
        delta.data.normal_(0, NOISE * epsilon)
        dropout = int(torch.randint(2**62, ()))
        torch.manual_seed(dropout)
        outputs, loss = objective.compute(model, batch)

        def divergence() -> Tensor:
            """Compute D between the clean and the perturbed predictions."""
            torch.manual_seed(dropout)
            with embedding_offset(model, delta):
                others = objective.task.outputs(model, batch)
            there = objective.divergence(others, outputs, batch).total
            return there + objective.divergence(outputs, others, batch).total

        (gradient,) = torch.autograd.grad(divergence(), delta, retain_graph=True)
        moved = delta.detach() + epsilon * largest_is_one(gradient, batch.sequences)
        delta = moved.clamp(-epsilon, epsilon)
        smoothness = divergence()
        metrics = {**loss.metrics, "smart": smoothness.detach()}
        return outputs, Loss(loss.total + weight * smoothness, loss.items, metrics)

    return TaskObjective(objective.task, compute)


def largest_is_one(
    gradient: Float[Tensor, "tokens hidden"], sequences: Sequences
) -> Float[Tensor, "tokens hidden"]:
    """Scale the gradient of each sequence to a largest entry of ±1; a gradient of 0 stays 0."""
    largest = sequences.max(gradient.abs().amax(-1, keepdim=True))[sequences.sequence_ids]
    return gradient / largest.where(largest > 0, 1.0)
