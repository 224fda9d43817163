"""Score the importance of layers, heads and feed-forward units.

    magnitude   ‖w‖                          of all weights of the part (Han et al. 2015,
                                             arXiv:1506.02626)
    gradient    Σ over texts |Σ a · ∂L/∂a|   a: what the part adds to the text's tokens (Michel et
                                             al. 2019, arXiv:1905.10650; Molchanov et al. 2019,
                                             arXiv:1906.10771)

Σ a · ∂L/∂a is the derivative of the loss by a factor of the part that stands at 1: to first order,
what the loss changes by when the part is removed. Of a feed-forward unit it is Σ w · ∂L/∂w over its
column of the second matrix.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plainformer.encoder.attention import MultiHeadAttention
from plainformer.encoder.block import Block
from plainformer.encoder.feedforward import FeedForward, GatedFeedForward
from plainformer.encoder.heads.headed_model import compute_all_tokens
from plainformer.encoder.linear import Linear
from plainformer.encoder.model import Encoder
from plainformer.encoder.packing import Sequences
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch, Item, by_length
from plainformer.finetune.task import AnyTask


@dataclass(frozen=True)
class Importance:
    """The scores of the layers of a model, and of the heads and units of each."""

    layers: Float[Tensor, " layers"]
    heads: Float[Tensor, "layers heads"]
    units: Float[Tensor, "layers units"]


def blocks_of(model: PretrainedModel) -> list[Block]:
    """Return the blocks of a model."""
    return [block for block in model.base.blocks if isinstance(block, Block)]


@torch.no_grad()
def by_magnitude(model: PretrainedModel) -> Importance:
    """Score each part by the norm of its weights."""
    layers, heads, units = [], [], []
    for block in blocks_of(model):
        squares = [m.weight.square().sum() for m in block.modules() if isinstance(m, Linear)]
        layers.append(torch.stack(squares).sum().sqrt())
        heads.append(_head_squares(block.attention).sqrt())
        units.append(_unit_squares(block.feed_forward).sqrt())
    return Importance(torch.stack(layers), torch.stack(heads), torch.stack(units))


def _head_squares(layer: MultiHeadAttention) -> Float[Tensor, " heads"]:
    """Compute the squared norm of each head: its rows of Q, K and V, its columns of the output."""
    rows = layer.qkv.weight.square().sum(1).view(3, layer.num_heads, -1)  # (3, heads, head_size)
    columns = layer.output.weight.square().sum(0).view(layer.num_heads, -1)  # (heads, head_size)
    return rows.sum((0, 2)) + columns.sum(1)


def _unit_squares(layer: FeedForward | GatedFeedForward) -> Float[Tensor, " units"]:
    """Compute the squared norm of each unit: rows of the first matrix, a column of the second."""
    size = layer.down.in_features
    rows = layer.up.weight.square().sum(1).view(-1, size)  # (gate and up, or one; units)
    return rows.sum(0) + layer.down.weight.square().sum(0)


def by_gradient(task: AnyTask, model: PretrainedModel, items: Sequence[Item]) -> Importance:
    """Score each part by the gradient of the task's loss on labelled items, without dropout."""
    blocks, device = blocks_of(model), model.device
    importance = Importance(
        torch.zeros(len(blocks), device=device),
        torch.zeros(len(blocks), model.config.num_attention_heads, device=device),
        torch.zeros(len(blocks), model.config.intermediate_size, device=device),
    )
    model.eval().requires_grad_(True)
    for some in by_length(items):
        batch = Batch.of([item for _, item in some]).to(device)
        with _Activations(model.base, blocks, importance) as seen:
            loss = task.loss(model_outputs(task, model, batch), batch)[0]
        gradients = torch.autograd.grad(loss, [node for node, _, _ in seen.added])
        sequences = batch.sequences.prefixed(model.base.prompt_length)  # a soft prompt attends, too
        for (_, added, scores), gradient in zip(seen.added, gradients, strict=True):
            products = (added * gradient).view(len(added), len(scores), -1)  # (tokens, parts, _)
            scores += per_text(products.sum(-1), sequences).abs().sum(0)
    return importance


def model_outputs(task: AnyTask, model: PretrainedModel, batch: Batch[Any]) -> Any:
    """Compute the outputs of a model with gradients."""
    with torch.enable_grad():
        return task.outputs(model, batch)


def per_text(
    x: Float[Tensor, "tokens size"], sequences: Sequences
) -> Float[Tensor, "sequences size"]:
    """Sum the vectors of the tokens of each sequence."""
    lengths = torch.tensor(sequences.lengths, device=x.device)
    owner = torch.repeat_interleave(
        torch.arange(len(lengths), device=x.device), lengths, output_size=len(x)
    )
    return x.new_zeros(len(lengths), x.shape[-1]).index_add(0, owner, x)


class _Activations:
    """Keep what the parts of a model add while it runs: (node of the graph, added, its scores)."""

    def __init__(self, encoder: Encoder, blocks: Sequence[Block], importance: Importance) -> None:
        self.added: list[tuple[Tensor, Tensor, Tensor]] = []
        self._encoder, self._blocks, self._importance = encoder, blocks, importance
        self._handles: list[Any] = []

    def __enter__(self) -> "_Activations":
        scores = self._importance
        self._handles.append(compute_all_tokens(self._encoder))
        for number, block in enumerate(self._blocks):
            of_layer = scores.layers[number : number + 1]
            self._handles += [
                block.attention.output.register_forward_pre_hook(self._input(scores.heads[number])),
                block.feed_forward.down.register_forward_pre_hook(
                    self._input(scores.units[number])
                ),
                block.register_forward_hook(self._output(of_layer)),
            ]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _input(self, scores: Tensor) -> Callable[..., None]:
        def keep(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.added.append((inputs[0], inputs[0].detach(), scores))

        return keep

    def _output(self, scores: Tensor) -> Callable[..., None]:
        def keep(block: nn.Module, inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> None:
            self.added.append((outputs[0], (outputs[0] - inputs[0]).detach(), scores))

        return keep
