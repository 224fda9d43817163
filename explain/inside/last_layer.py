"""Run a model, and keep what its last linear layer reads and the gradient of what it writes.

The layer computes y = W x + b in rows: one for a text, a window, an option or a token. The graph
begins at y, so that a gradient costs no backward pass through the encoder. It works for a frozen
or int8 encoder, too.

outputs, layer = run_last_layer(task, model, Batch.of(items))
layer.gradients(task.loss(outputs, batch).total)    # (rows, outputs)
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder import MaskedLM, SentenceEncoder
from plainformer.encoder.heads.sentence import Projection
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding
from plainformer.finetune.tasks.tagging.crf import ChainTagger


@dataclass(frozen=True)
class LastLayer:
    """The rows of the last linear layer for a batch."""

    inputs: Float[Tensor, "rows size"]
    outputs: Float[Tensor, "rows outputs"]
    """The leaf of the graph."""
    owners: Int[Tensor, " rows"]
    """The item of each row."""

    def gradients(self, value: Float[Tensor, ""]) -> Float[Tensor, "rows outputs"]:
        """Compute the gradient of a number with respect to the outputs of the layer."""
        (found,) = torch.autograd.grad(value, self.outputs, retain_graph=True)
        return found

    def mean(self, items: int) -> Float[Tensor, "items size"]:
        """Average what the layer reads over the rows of each item."""
        sums = self.inputs.new_zeros(items, self.inputs.shape[1])
        counts = torch.bincount(self.owners, minlength=items)
        return sums.index_add(0, self.owners, self.inputs) / counts[:, None]


def check_last_layer(task: AnyTask) -> None:
    """Raise `UserError` for a task whose model ends in vectors, without a layer that decides."""
    if isinstance(task, SentenceEmbedding):
        raise UserError("a model of sentence vectors has no last layer that decides anything")


def run_last_layer(
    task: AnyTask, model: PretrainedModel, batch: Batch[Any]
) -> tuple[Any, LastLayer]:
    """Compute the outputs of a task, and return them with the rows of the last layer."""
    read: list[Tensor] = []
    written: list[Tensor] = []

    def keep(_: nn.Module, given: tuple[Tensor], y: Tensor) -> Tensor:
        """Cut the graph at what the layer writes."""
        read.append(given[0].detach().float())
        written.append(y.detach().requires_grad_())
        return written[-1]

    def keep_words(_: nn.Module, given: tuple[Tensor], y: Tensor) -> None:
        """Keep what the table of words reads, at each mask."""
        read.append(y.detach().float())

    is_prompt = isinstance(model, MaskedLM)
    layer = model.head if isinstance(model, MaskedLM) else linear_of(model)
    hook = layer.register_forward_hook(keep_words if is_prompt else keep)
    try:
        with torch.enable_grad():
            outputs = task.outputs(model, batch)
    finally:
        hook.remove()
    if is_prompt:  # the outputs are those of the rows that the labels have in the table
        outputs = outputs.detach().requires_grad_()
        owners = torch.arange(len(batch.items), device=outputs.device)
        return outputs, LastLayer(batch.in_order(read[0]), outputs, owners)
    return outputs, LastLayer(read[0], written[0], owners_of(batch, len(read[0])))


def linear_of(model: PretrainedModel) -> nn.Module:
    """Return the last linear layer of a model with a head."""
    if isinstance(model, ChainTagger):
        return linear_of(model.classifier)
    if isinstance(model, SentenceEncoder):  # of a contrastive classification
        last = model.layers[-1]
        assert isinstance(last, Projection)
        return last.linear
    found = model.classifier
    assert isinstance(found, nn.Module)
    return found


def has_bias(model: PretrainedModel) -> bool:
    """Tell whether the last layer has a bias."""
    return isinstance(model, MaskedLM) or getattr(linear_of(model), "bias", None) is not None


def owners_of(batch: Batch[Any], rows: int) -> Int[Tensor, " rows"]:
    """Return the item of each row, of a packed sequence or of a packed token."""
    packed = torch.empty_like(batch.owners)
    packed[batch.places] = batch.owners
    if rows == len(packed):
        return packed
    lengths = torch.tensor(batch.sequences.lengths, device=packed.device)
    return packed.repeat_interleave(lengths)
