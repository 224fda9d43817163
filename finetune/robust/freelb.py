"""FreeLB: adversarial training whose every step also trains (Zhu et al. 2020, arXiv:1909.11764).

    loss = 1/K Σₜ L(x + δₜ), t = 0 … K − 1,    δ₀ ~ U(−ε, ε) / √n,    δₜ₊₁ = Π(δₜ + α g / ‖g‖)

g = ∇_δ L(x + δₜ) comes with the gradient of the weights, for free: K steps cost K forward and
backward passes. x are the embeddings, n is the size of δ for a sequence (its tokens · hidden
units), norms are those of a sequence, and Π scales a δ of a norm above ε down to ε (algorithm 1).
All passes of a batch have the same dropout (§3.3): otherwise the ascent would follow another model
in each step. By default α = 2.5 ε / K, as in PGD.
"""

from collections.abc import Iterator
from typing import Any

import torch

from plainformer.encoder.embedding_offset import embedding_offset
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.robust.perturbation import direction, no_perturbation, norms, project
from plainformer.training import Loss, Objective, TrainingObjective


def freelb(
    objective: Objective[PretrainedModel, Batch[Any]],
    epsilon: float = 1.0,
    steps: int = 3,
    step_size: float | None = None,
) -> TrainingObjective[PretrainedModel, Batch[Any]]:
    """Average the loss over the `steps` steps of an ascent within `epsilon`."""
    rate = 2.5 * epsilon / steps if step_size is None else step_size

    def adversarial(model: PretrainedModel, batch: Batch[Any]) -> Iterator[Loss]:
        delta, sequences = no_perturbation(model, batch), batch.sequences
        size = norms(torch.ones_like(delta), sequences)  # √n
        delta.data = epsilon * delta.data.uniform_(-1, 1) / size
        dropout = int(torch.randint(2**62, ()))
        with embedding_offset(model, delta):
            for step in range(steps):
                torch.manual_seed(dropout)
                loss = objective(model, batch)
                metrics = {name: value / steps for name, value in loss.metrics.items()}
                yield Loss(loss.total / steps, 0 if step else loss.items, metrics)
                assert delta.grad is not None
                moved = delta.detach() + rate * direction(delta.grad, sequences)
                delta.data, delta.grad = project(moved, sequences, epsilon), None

    return adversarial
