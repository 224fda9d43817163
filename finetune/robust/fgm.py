"""FGM, the fast gradient method: adversarial training by one step (Miyato et al. 2017).

    loss = L(x) + L(x + δ),    δ = ε g / ‖g‖,    g = ∇ₓ L(x)

x are the embeddings of the tokens, and ‖g‖ is the norm over a sequence (arXiv:1605.07725, eq. 5 and
6): within a distance of ε, δ is the change of x by which the loss grows most, if the loss is linear
there. Its own dependence on the weights is ignored. Miyato normalises the vectors of the tokens, so
that larger ones do not make ε small; here x comes after the norm of the embeddings.

A step costs two forward and two backward passes. The loss that is logged is the sum of both.
"""

from collections.abc import Iterator
from typing import Any

from plainformer.encoder.embedding_offset import embedding_offset
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.robust.perturbation import direction, no_perturbation
from plainformer.training import Loss, Objective, TrainingObjective


def fgm(
    objective: Objective[PretrainedModel, Batch[Any]], epsilon: float = 1.0
) -> TrainingObjective[PretrainedModel, Batch[Any]]:
    """Add the loss of embeddings that a step of length `epsilon` made worse."""

    def adversarial(model: PretrainedModel, batch: Batch[Any]) -> Iterator[Loss]:
        delta = no_perturbation(model, batch)
        with embedding_offset(model, delta):
            yield objective(model, batch)
            assert delta.grad is not None
            delta.data = epsilon * direction(delta.grad, batch.sequences)
            yield objective(model, batch)._replace(items=0, metrics={})

    return adversarial
