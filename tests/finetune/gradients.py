"""A small classifier with three texts, and the gradients of an objective as the loop adds them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from plainformer.encoder import SequenceClassifier
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.tasks.classification import ClassExample, Classification
from plainformer.training import Loss, TrainingObjective
from plainformer.training.parallel import ModelCall
from plainformer.training.step import losses
from tests.encoder.tools import randomise
from tests.pretrain import tiny

LABELS = ("a", "b", "c")
TASK = Classification(labels=LABELS, max_length=16)
TOKENIZER = tiny.make_tokenizer()
CPU = torch.device("cpu")


def classifier(architecture: str = "bert", dropout: float = 0.0) -> SequenceClassifier:
    """A classifier in float64, whose weights are large enough for its outputs to differ."""
    shape = replace(tiny.shape(architecture, TOKENIZER), attention_dropout=dropout)
    model = SequenceClassifier(shape.with_dropout(dropout), LABELS).double()
    randomise(model)
    return model.train()


def items(task: Any = TASK, count: int = 3) -> list[Item]:
    """Texts of unequal lengths with their labels; the first is read in windows where they are."""
    texts = [" ".join(tiny.sentences(2)), "the cat", *tiny.sentences(8, seed=1)][:count]
    return [
        task.encode(ClassExample(text=text, label=LABELS[n % 3], source="f:1"), TOKENIZER)
        for n, text in enumerate(texts)
    ]


def batch_of(task: Any = TASK, count: int = 3) -> Batch[Item]:
    """The batch of `items`."""
    return Batch.of(items(task, count))


def losses_of(
    model: nn.Module, objective: TrainingObjective[Any, Any], batch: Batch[Any]
) -> Iterator[Loss]:
    """Yield the losses of `batch`, each differentiated as `take_step` does it."""
    for loss in losses(ModelCall(model), objective, batch, CPU, "fp32"):
        loss.total.backward()
        yield loss


def gradients(
    model: nn.Module, objective: TrainingObjective[Any, Any], batch: Batch[Any]
) -> tuple[float, dict[str, Tensor]]:
    """Return the sum of the losses of `batch` and the gradients, as `take_step` computes them."""
    model.zero_grad()
    total = sum(loss.total.item() for loss in losses_of(model, objective, batch))
    return total, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def of_tensor(model: nn.Module, loss: Tensor) -> tuple[float, dict[str, Tensor]]:
    """Return a loss and its gradients."""
    model.zero_grad()
    loss.backward()
    return loss.item(), {
        n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None
    }


def assert_same(
    ours: tuple[float, dict[str, Tensor]], theirs: tuple[float, dict[str, Tensor]]
) -> None:
    """The same loss and the same gradients, but for the rounding of logits to float32."""
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-6, atol=1e-6)
    assert ours[1].keys() == theirs[1].keys()
    for name, gradient in ours[1].items():
        torch.testing.assert_close(gradient, theirs[1][name], rtol=1e-6, atol=1e-6, msg=name)


def logits_at(model: SequenceClassifier, item: Item, delta: Tensor) -> Tensor:
    """The logits of a text alone, of one sequence: δ is added to its embeddings."""
    batch = Batch.of([item])
    x = model.base.embed(batch.input_ids, batch.token_type_ids, batch.sequences) + delta
    handle = model.base.embeddings.register_forward_hook(lambda *_: x)
    try:
        logits: Tensor = model(batch.input_ids, None, batch.token_type_ids, batch.sequences)
    finally:
        handle.remove()
    return logits


def loss_at(model: SequenceClassifier, batch: Batch[Any], deltas: list[Tensor]) -> Tensor:
    """The cross-entropy of all texts, each alone with its δ."""
    losses = [
        nn.functional.cross_entropy(logits_at(model, item, delta), torch.tensor(item.targets[0]))
        for item, delta in zip(batch.items, deltas, strict=True)
    ]
    return torch.stack(losses).sum()


def ascent(loss: Callable[[list[Tensor]], Tensor], deltas: list[Tensor]) -> list[Tensor]:
    """Return the gradient of the loss for each δ, scaled to the norm 1."""
    deltas = [delta.clone().requires_grad_() for delta in deltas]
    found = torch.autograd.grad(loss(deltas), deltas)
    return [gradient / torch.linalg.norm(gradient) for gradient in found]
