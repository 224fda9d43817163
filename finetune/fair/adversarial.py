"""Adversarial removal: a vector of a text that tells no more of its group than its label does.

    min over a:       CE(g, a(f(x), y))
    min over f, c:    L(y, c(f(x))) + λ KL(P(g | y) ‖ a(f(x), y))

f(x) is the vector of a text, c the head of the task, and a the adversary: a head with one hidden
layer that predicts the group. The encoder learns to confuse it, until it answers as one that knows
the label alone, by the shares of the training examples (domain confusion: Tzeng et al. 2015,
arXiv:1510.02192, where all shares are equal). What a vector says of the group beyond the label is
what equalised odds forbid (Zhang et al. 2018, arXiv:1801.07593); where an example has not one
label, y is left out. Both steps are one backward pass, as with a reversed gradient (Ganin &
Lempitsky 2015, arXiv:1409.7495), which rewards vectors for misleading the adversary, and so for
betraying the group the wrong way round: see benchmarks/LOG.md.

The vector is what the classifier reads; in tasks with other heads, the mean of the token vectors.
CE and KL count a text as often as L does: once, or for each of its words or windows. The adversary
is a module within the model, `model.adversary`, which the optimizer trains and checkpoints hold; it
is removed before the model is saved. A step costs a small head more.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, kl_div, one_hot

from plainformer.encoder.linear import Linear
from plainformer.encoder.packing import to_device
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.fair.cells import cell
from plainformer.finetune.fair.vectors import sequence_vectors, vector_size
from plainformer.finetune.micro_batches import counted
from plainformer.finetune.task_objective import TaskObjective
from plainformer.training import Loss

NAME = "adversary"


class Adversary(nn.Module):
    """A head that predicts the group from the vector of a text and its label."""

    shares: Float[Tensor, "labels groups"]
    """P(g | y) among the training items."""

    def __init__(self, size: int, items: Sequence[Item], seed: int) -> None:
        super().__init__()
        cells = Counter(map(cell, items))
        self.groups = sorted({group for group, _ in cells})
        self.labels = sorted({label for _, label in cells}, key=str)
        counts = torch.tensor([[float(cells[g, y]) for g in self.groups] for y in self.labels])
        self.register_buffer("shares", counts / counts.sum(-1, keepdim=True), persistent=False)
        self.hidden = Linear(size + len(self.labels), size)
        self.out = Linear(size, len(self.groups))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in (self.hidden, self.out):
                layer.weight.normal_(0, layer.weight.shape[1] ** -0.5, generator=generator)
                assert layer.bias is not None
                layer.bias.zero_()

    def forward(
        self, vectors: Float[Tensor, "items size"], labels: Int[Tensor, " items"]
    ) -> Float[Tensor, "items groups"]:
        """Compute the logits of the groups."""
        known = one_hot(labels, len(self.labels)).to(vectors)
        logits: Tensor = self.out(self.hidden(torch.cat([vectors, known], -1)).relu())
        return logits


def add_adversary(model: PretrainedModel, items: Sequence[Item], seed: int) -> None:
    """Add an adversary for the groups of the training items to `model`."""
    adversary = Adversary(vector_size(model), items, seed)
    model.add_module(NAME, adversary.to(next(model.parameters())))


def adversarial(objective: TaskObjective, strength: float = 1.0) -> TaskObjective:
    """Add the loss of the adversary ("adversary"), and `strength` times that of the encoder."""

    def compute(model: PretrainedModel, batch: Batch[Any]) -> tuple[Any, Loss]:
        adversary = model.get_submodule(NAME)
        assert isinstance(adversary, Adversary)
        with sequence_vectors(model, batch) as found:
            outputs, plain = objective.compute(model, batch)
        vectors = batch.mean(found[0])
        groups = numbers([item.group for item in batch.items], adversary.groups, vectors.device)
        labels = numbers([item.category for item in batch.items], adversary.labels, vectors.device)
        guessed = adversary(vectors.detach(), labels)
        against = cross_entropy(guessed, groups, reduction="none")
        counts = batch.on_device(objective.task.item_counts(batch))
        frozen = {name: p.detach() for name, p in adversary.named_parameters()}
        logs = functional_call(adversary, frozen, (vectors, labels)).log_softmax(-1)
        apart = kl_div(logs, adversary.shares[labels], reduction="none").sum(-1)
        total = plain.total + ((against + strength * apart) * counts).sum()
        metrics = {**plain.metrics, "adversary": (against.detach() * counts).sum()}
        return outputs, counted(Loss(total, plain.items, metrics), batch)

    return TaskObjective(objective.task, compute)


def numbers(
    values: Sequence[str | None], names: Sequence[str | None], device: torch.device
) -> Int[Tensor, " items"]:
    """Return the index of each value in `names`."""
    return to_device(torch.tensor([names.index(value) for value in values]), device)
