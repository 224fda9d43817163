"""Freeze an encoder, and replace linear layers of its blocks by ones with added parameters.

A method is a function `add_METHOD(model, …)` that does both, and a subclass of `TunedLinear`, which
has the parameters of the layer in whose place it is, under their names:

    replace_layers(model, ("query", "value"), lambda layer, parts: MyLinear(layer, parts, …))
    freeze_base(model)

A target is a layer ("output", "down"), or a part of a fused one ("query", "gate"), by its name. All
parts of a layer together, as one matrix, are "query+key+value" or "gate+up"; "all" is every part.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from torch import nn

from plainformer.base import UserError
from plainformer.encoder.linear import Linear
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights.added import HasAddedParameters, added_layers

ALL = "all"


class TunedLinear(Linear):
    """A linear layer with the weights of another, to which a method adds parameters.

    Where these can be merged into the weights, the method defines `merged` (`encoder.merge`).
    """

    running_means: ClassVar[int] = 0
    """Numbers that training keeps for each added one, beside its gradient and its moments."""

    def __init__(self, layer: Linear) -> None:
        nn.Module.__init__(self)  # the parameters are those of the layer
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.fused_parts = layer.fused_parts
        self.weight, self.bias = layer.weight, layer.bias
        self.train(layer.training)

    def rows_of(self, part: str) -> slice:
        """Return the rows of a fused part; of any other name, all rows."""
        return super().rows_of(part) if part in self.fused_parts else slice(0, self.out_features)

    def added_parameters(self) -> Iterator[str]:
        """Return the names of the added parameters."""
        return (name for name in self.state_dict() if name not in ("weight", "bias"))


def freeze_base(model: PretrainedModel) -> None:
    """Let only the added parameters of `model` be trained, and its head: what is not its encoder.

    A pooler that was not pretrained belongs to the head. The head of a masked-language model was
    pretrained with the encoder, and is frozen with it.
    """
    models = [module for module in model.modules() if isinstance(module, PretrainedModel)]
    new = {
        id(parameter)
        for part in models
        for name, parameter in part.named_parameters()
        if name in part.newly_initialised
    }
    if model.has_decoder:
        for parameter in model.parameters():
            parameter.requires_grad_(id(parameter) in new)
    added = {
        f"{layer}.{name}".removeprefix(".")
        for layer, about in added_layers(model.base).items()
        for name in about["added"]
    }
    for name, parameter in model.base.named_parameters():
        parameter.requires_grad_(name in added or id(parameter) in new)


def refuse_added(model: PretrainedModel) -> None:
    """Raise `UserError` for a model with added parameters."""
    for layer in added_layers(model.base).values():
        raise UserError(
            f"the model has a {layer['type']} already: start from one without additions"
        )


def replace_layers(
    model: PretrainedModel,
    targets: Sequence[str],
    make: Callable[[Linear, tuple[str, ...]], TunedLinear],
) -> None:
    """Replace the layers in the blocks of `model` that `targets` name by make(layer, parts).

    Raises `UserError`, and changes nothing, for a name that no layer has, for a part named twice,
    and for a model whose layers have added parameters already.
    """
    found: list[tuple[nn.Module, str, Linear, tuple[str, ...]]] = []
    known: dict[str, None] = {}
    for name, layer, parent in linear_layers(model):
        own = layer.fused_parts or (name,)
        whole = "+".join(own)
        names = dict.fromkeys((*own, whole))
        known |= names
        chosen = own if ALL in targets else tuple(name for name in names if name in targets)
        if len(chosen) > 1 and whole in chosen:
            raise UserError(f"targets {whole} and {chosen[0]} overlap: leave out one of them")
        if chosen:
            found.append((parent, name, layer, chosen))
    if missing := [target for target in targets if target not in (*known, ALL)]:
        raise UserError(
            f"no layer of the model is named {missing[0]!r}: choose {', '.join(known)}, or {ALL}"
        )
    if not found:
        raise UserError("targets name no layer")
    for parent, name, layer, parts in found:
        setattr(parent, name, make(layer, parts))


def linear_layers(model: PretrainedModel) -> Iterator[tuple[str, Linear, nn.Module]]:
    """Yield the linear layers of the blocks of `model`, each with its name and its parent.

    Raises `UserError` where one has added parameters, or is no longer one for training.
    """
    for path, module in model.base.named_modules():
        if isinstance(module, HasAddedParameters) and not isinstance(module, TunedLinear):
            raise UserError(
                f"{path} is a {type(module).__name__} already: start from a model without added "
                "parameters"
            )
    for path, module in list(model.base.blocks.named_modules()):
        for name, layer in module.named_children():
            if isinstance(module, TunedLinear) or not isinstance(layer, nn.Linear):
                continue
            if type(layer) is not Linear:
                raise UserError(
                    f"blocks.{path}.{name} is a {type(layer).__name__} already: start from a model "
                    "without added parameters, or merge them first"
                )
            yield name, layer, module
