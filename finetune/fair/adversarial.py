"""Adversarial removal: a vector of a text from which its group cannot be told.

    min over f, c, max over a:    L(c(f(x)), y) − λ CE(a(f(x), y), g)

f(x) is the vector of a text, c the head of the task, and a the adversary, a head with one hidden
layer that predicts the group. One backward pass takes all three steps: between f and a the gradient
is reversed and multiplied by λ (Ganin & Lempitsky 2015, arXiv:1409.7495, eq. 9; λ is constant
here). Given the label of the example, where it has one, the adversary learns only what the vector
says of the group beyond the label, which is what equalised odds forbid (Zhang et al. 2018,
arXiv:1801.07593, §3).

The vector is what the classifier reads; in tasks with other heads, the mean of the token vectors.
CE counts a text as often as the loss of the task does: once, or for each of its words or windows.
The adversary is a module within the model, `model.adversary`, which the optimizer trains and
checkpoints hold; it is removed before the model is saved. A step costs a small head more.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from plainformer.encoder.heads.sentence import SentenceEncoder
from plainformer.encoder.heads.sequence import TextModel
from plainformer.encoder.linear import Linear
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.micro_batches import counted
from plainformer.finetune.task_objective import TaskObjective
from plainformer.training import Loss

NAME = "adversary"


class ReversedGradient(torch.autograd.Function):
    """The identity, whose backward pass multiplies the gradient by −λ."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        """Return x."""
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Reverse the gradient."""
        return -ctx.strength * gradient, None


def reverse_gradient(
    x: Float[Tensor, "items size"], strength: float
) -> Float[Tensor, "items size"]:
    """Return x; its gradient is reversed and multiplied by `strength`."""
    same: Tensor = ReversedGradient.apply(x, strength)  # type: ignore[no-untyped-call]
    return same


class Adversary(nn.Module):
    """A head that predicts the group from the vector of a text and its label."""

    def __init__(self, size: int, groups: Sequence[str], labels: Sequence[str], seed: int) -> None:
        super().__init__()
        self.groups, self.labels = tuple(groups), tuple(labels)
        self.hidden = Linear(size + len(labels), size)
        self.out = Linear(size, len(groups))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in (self.hidden, self.out):
                layer.weight.normal_(0, layer.weight.shape[1] ** -0.5, generator=generator)
                assert layer.bias is not None
                layer.bias.zero_()

    def forward(
        self, vectors: Float[Tensor, "items size"], items: Sequence[Item]
    ) -> Float[Tensor, "items groups"]:
        """Compute the logits of the groups."""
        if self.labels:
            known = numbers([item.category for item in items], self.labels, vectors.device)
            vectors = torch.cat([vectors, one_hot(known, len(self.labels)).to(vectors)], -1)
        logits: Tensor = self.out(self.hidden(vectors).relu())
        return logits


def numbers(
    values: Sequence[str | None], names: Sequence[str], device: torch.device
) -> Int[Tensor, " items"]:
    """Return the index of each value in `names`."""
    index: dict[str | None, int] = {name: number for number, name in enumerate(names)}
    return torch.tensor([index[value] for value in values], device=device)


def add_adversary(model: PretrainedModel, items: Sequence[Item], seed: int) -> None:
    """Add an adversary for the groups of the training items to `model`."""
    groups = sorted({item.group for item in items})
    labels = sorted({item.category for item in items if item.category is not None})
    adversary = Adversary(vector_size(model), groups, labels, seed)
    model.add_module(NAME, adversary.to(next(model.parameters())))


def adversarial(objective: TaskObjective, strength: float = 1.0) -> TaskObjective:
    """Add the loss of the adversary ("adversary"), whose gradient is reversed in the model."""

    def compute(model: PretrainedModel, batch: Batch[Any]) -> tuple[Any, Loss]:
        adversary = model.get_submodule(NAME)
        assert isinstance(adversary, Adversary)
        with sequence_vectors(model, batch) as found:
            outputs, plain = objective.compute(model, batch)
        vectors = reverse_gradient(batch.mean(found[0]), strength)
        groups = [item.group for item in batch.items]
        truth = numbers(groups, adversary.groups, vectors.device)
        losses = cross_entropy(adversary(vectors, batch.items), truth, reduction="none")
        loss = losses @ losses.new_tensor(objective.task.item_counts(batch))
        metrics = {**plain.metrics, "adversary": loss.detach()}
        return outputs, counted(Loss(plain.total + loss, plain.items, metrics), batch)

    return TaskObjective(objective.task, compute)


def vector_size(model: PretrainedModel) -> int:
    """Return the size of the vectors of `sequence_vectors`."""
    return model.size if isinstance(model, SentenceEncoder) else model.config.hidden_size


@contextmanager
def sequence_vectors(model: PretrainedModel, batch: Batch[Any]) -> Iterator[list[Tensor]]:
    """Collect the vector of each sequence of a batch, in packed order, in a list of one tensor."""
    found: list[Tensor] = []

    def mean_of_tokens(_: Any, __: Any, output: Any) -> None:
        x, sequences = output.last_hidden_state, batch.sequences
        found.append(sequences.sum(x) / sequences.counts[:, None])

    if isinstance(model, TextModel):
        hook = model.classifier.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    elif isinstance(model, SentenceEncoder):
        hook = model.register_forward_hook(lambda _, __, output: found.append(output))
    else:
        hook = model.base.register_forward_hook(mean_of_tokens)
    try:
        yield found
    finally:
        hook.remove()
