"""Elastic weight consolidation (EWC): hold what earlier tasks need (Kirkpatrick et al. 2017).

    loss + λ/2 Σₖ Σᵢ Fₖᵢ (θᵢ − θₖᵢ)²        Fₖᵢ = 1/N Σₙ (∂ log p(yₙ | xₙ) / ∂θᵢ)²

θ are the weights of the encoder, which the tasks share, and θₖ their values after task k
(arXiv:1612.00796, eq. 3). Fₖ is the diagonal of the Fisher information on N examples of task k. It
is that of their labels yₙ, also called the empirical one, and not of labels drawn from the
predictions. It is exact: one example at a time, without dropout. log p is the negative loss.

A sum of parabolas is a parabola: however many tasks there were, only Σ Fₖ and Σ Fₖ θₖ are kept. The
penalty is added as its gradient, before a step, so that AdamW scales it as it scales the loss:

    ∂/∂θ += λ (Σ Fₖ · θ − Σ Fₖ θₖ)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from plainformer.base import atomic_path
from plainformer.base.tensors import save_tensors
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights.folder import mapped
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.task import AnyTask
from plainformer.training.distributed import all_reduce_sum_tensors, rank, world_size


def fisher(task: AnyTask, model: PretrainedModel, items: Sequence[Item]) -> dict[str, Tensor]:
    """Compute the diagonal of the Fisher information of the encoder's parameters, by name.

    Several processes share the items; each returns the mean over all of them.
    """
    model.eval()
    named = {name: p for name, p in model.base.named_parameters() if p.requires_grad}
    parameters = list(named.values())
    squares = [torch.zeros_like(parameter) for parameter in parameters]
    for item in items[rank() :: world_size()]:
        batch = Batch.of([item]).to(parameters[0].device)
        loss = task.loss(task.outputs(model, batch), batch).total
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for square, gradient in zip(squares, gradients, strict=True):
            if gradient is not None:
                square.addcmul_(gradient, gradient)
    return {name: mean(square, len(items)) for name, square in zip(named, squares, strict=True)}


def mean(sum_here: Tensor, count: int) -> Tensor:
    """Add a tensor over all processes, and divide by `count`."""
    total = all_reduce_sum_tensors({"sum": sum_here}, sum_here.device)["sum"]
    return torch.as_tensor(total, dtype=sum_here.dtype) / count


@dataclass(frozen=True)
class ElasticPull:
    """The pull of the tasks learned so far on the encoder's parameters, by their names."""

    importance: Mapping[str, Tensor] = field(default_factory=dict)
    """Σ Fₖ: how much the tasks need each parameter to stay."""
    anchors: Mapping[str, Tensor] = field(default_factory=dict)
    """Σ Fₖ θₖ: the values it should keep, weighted by their importance."""

    def after(self, model: PretrainedModel, information: Mapping[str, Tensor]) -> "ElasticPull":
        """Add the Fisher information of the task that `model` has just learned."""
        importance, anchors = dict(self.importance), dict(self.anchors)
        for name, parameter in model.base.named_parameters():
            if name in information:
                added = information[name]
                importance[name] = importance.get(name, 0) + added
                anchors[name] = anchors.get(name, 0) + added * parameter.detach()
        return ElasticPull(importance, anchors)

    @torch.no_grad()
    def add_gradient(self, model: PretrainedModel, strength: float) -> None:
        """Add the gradient of the penalty, of this strength λ, to that of each parameter."""
        for name, parameter in model.base.named_parameters():
            if parameter.grad is not None and name in self.importance:
                pull = self.importance[name] * parameter - self.anchors[name]
                parameter.grad.add_(pull, alpha=strength)

    def save(self, path: Path) -> None:
        """Write the tensors to a file."""
        both = {"importance": self.importance, "anchors": self.anchors}
        named = {f"{part}.{n}": t.cpu() for part, of in both.items() for n, t in of.items()}
        with atomic_path(path) as temporary:
            save_tensors(named, temporary)

    @classmethod
    def load(cls, path: Path, device: torch.device) -> "ElasticPull":
        """Read what `save` wrote; raise `UserError` for a damaged file."""
        parts: dict[str, dict[str, Tensor]] = {"importance": {}, "anchors": {}}
        for name, tensor in mapped(path).items():
            part, _, own = name.partition(".")
            parts[part][own] = tensor.to(device)
        return cls(**parts)
