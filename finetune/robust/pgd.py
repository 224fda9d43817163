"""PGD, projected gradient descent: adversarial training by several steps (Madry et al. 2018).

    loss = L(x) + L(x + δ_K),    δ₀ = 0,    δₜ₊₁ = Π(δₜ + α g / ‖g‖),    g = ∇_δ L(x + δₜ)

x are the embeddings, norms are those of a sequence, and Π scales a δ of a norm above ε down to ε
(arXiv:1706.06083, §2.1, for the 2-norm; the term L(x) is that of FGM). One step with α = ε is FGM.
By default α = 2.5 ε / K, with which K steps reach the border from anywhere (Madry's appendix): ε
bounds δ, and α only says how finely the way to the border is followed.

A step costs K + 1 forward and backward passes; those between the first and the last change δ alone,
within the forward pass, which a sharded model (fsdp) does not allow.
"""

from collections.abc import Iterator
from typing import Any

import torch

from plainformer.encoder.embedding_offset import embedding_offset
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.robust.perturbation import direction, no_perturbation, project
from plainformer.training import Loss, Objective, TrainingObjective


def pgd(
    objective: Objective[PretrainedModel, Batch[Any]],
    epsilon: float = 1.0,
    steps: int = 3,
    step_size: float | None = None,
) -> TrainingObjective[PretrainedModel, Batch[Any]]:
    """Add the loss of embeddings that `steps` steps made worse, at most `epsilon` away."""
    rate = 2.5 * epsilon / steps if step_size is None else step_size

    def adversarial(model: PretrainedModel, batch: Batch[Any]) -> Iterator[Loss]:
        delta = no_perturbation(model, batch)
        with embedding_offset(model, delta):
            yield objective(model, batch)
            gradient = delta.grad
            for step in range(steps):
                if step:
                    (gradient,) = torch.autograd.grad(objective(model, batch).total, delta)
                assert gradient is not None
                moved = delta.detach() + rate * direction(gradient, batch.sequences)
                delta.data = project(moved, batch.sequences, epsilon)
            yield objective(model, batch)._replace(items=0, metrics={})

    return adversarial
