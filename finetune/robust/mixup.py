"""Mixup: train on mixtures of two texts' vectors and of their labels (Zhang et al. 2018).

    loss = λ L(f(h̃), y) + (1 − λ) L(f(h̃), y′),    h̃ = λ h + (1 − λ) h′,    λ ~ Beta(α, α)

h is the hidden vector of a text before the classifier, and h′, y′ are those of another text of the
micro-batch (arXiv:1710.09412; on the vectors of texts: Guo et al. 2019, arXiv:1905.08941). The
classifier is linear, f(h) = W h + b, so that mixing the vectors is mixing its outputs:
f(h̃) = λ f(h) + (1 − λ) f(h′). In cross-entropies this is the loss of the mixed labels
λ y + (1 − λ) y′; in squared errors it has the same gradient as that of the mixed score.

λ is drawn for a micro-batch, and so are the partners, after the forward pass. A step costs what a
plain one costs.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Beta

from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.micro_batches import counted
from plainformer.finetune.task_objective import TaskObjective, task_objective
from plainformer.finetune.tasks.sequence import SequenceTask
from plainformer.training import Loss


def mixup(task: SequenceTask[Any, Any], alpha: float = 0.2) -> TaskObjective:
    """Return the objective of mixed texts; its outputs are those of the texts themselves."""
    plain = task_objective(task)

    def compute(model: PretrainedModel, batch: Batch[Any]) -> tuple[Any, Loss]:
        outputs: Tensor = plain.task.outputs(model, batch)
        share = float(Beta(alpha, alpha).sample())
        partners = torch.randperm(len(outputs)).to(outputs.device)
        mixed = share * outputs + (1 - share) * outputs[partners]
        own, others = task.loss(mixed, batch), task.loss(mixed, with_targets_of(batch, partners))
        total = share * own.total + (1 - share) * others.total
        metrics = {
            name: share * value + (1 - share) * others.metrics[name]
            for name, value in own.metrics.items()
        }
        return outputs, counted(Loss(total, own.items, metrics), batch)

    return TaskObjective(task, compute)


def with_targets_of(batch: Batch[Any], partners: Tensor) -> Batch[Any]:
    """Give each item of a batch the target of its partner, in all of its windows."""
    targets = torch.empty_like(batch.targets)
    targets[batch.places] = batch.first(batch.targets)[partners][batch.owners]
    return replace(batch, targets=targets)
