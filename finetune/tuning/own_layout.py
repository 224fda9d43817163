"""Layouts of methods that `peft` has not, or computes otherwise: tensors by their names here.

adapter_config.json          peft_type: a name that `peft` refuses, and the method's arguments
adapter_model.safetensors    base_model.model.<prefix of the family><name in the encoder>
"""

from collections.abc import Callable
from typing import Any

import torch

from plainformer.base import UserError
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.soft_prompt import SoftPrompt
from plainformer.encoder.weights import Adapter
from plainformer.encoder.weights.added import split_state
from plainformer.encoder.weights.family import Tensors
from plainformer.encoder.weights.save import family_that_writes
from plainformer.finetune.tuning.bottleneck import Bottleneck, add_adapters
from plainformer.finetune.tuning.layout import Layout
from plainformer.finetune.tuning.prefix import PrefixAttention, add_prefix
from plainformer.finetune.tuning.soft_prompt import add_soft_prompt


def own_layout(
    name: str,
    kind: type,
    arguments: Callable[[PretrainedModel], dict[str, Any]],
    add: Callable[[PretrainedModel, Adapter], None],
) -> Layout:
    """Return the layout of a method whose modules are of class `kind`.

    `arguments` reads the arguments of the method from a model, and `add` adds its modules to a
    model by those in an adapter's settings.
    """

    def holds(model: PretrainedModel) -> bool:
        return any(isinstance(module, kind) for module in model.modules())

    def write(model: PretrainedModel) -> tuple[dict[str, Any], Tensors]:
        prefix, (_, added) = family_that_writes(model).prefix, split_state(model.base)
        return arguments(model), {f"{prefix}{name}": tensor for name, tensor in added.items()}

    @torch.no_grad()
    def read(model: PretrainedModel, adapter: Adapter, tensors: Tensors) -> set[str]:
        add(model, adapter)
        prefix, (_, added) = family_that_writes(model).prefix, split_state(model.base)
        for name, place in added.items():
            tensor = tensors.get(f"{prefix}{name}")
            if tensor is None:
                raise UserError(f"missing tensors: {prefix}{name}")
            if tensor.shape != place.shape:
                raise UserError(f"the shape of {prefix}{name} does not fit the base model")
            if not tensor.isfinite().all():
                raise UserError("tensors that hold NaN or infinite numbers: training diverged")
            place.copy_(tensor)
        return {f"{prefix}{name}" for name in added}

    return Layout(name, holds, write, read)


def bottleneck_arguments(model: PretrainedModel) -> dict[str, Any]:
    """Return the arguments of `add_adapters`."""
    adapters = [m for m in model.modules() if isinstance(m, Bottleneck)]
    twice = len(adapters) > len(model.base.blocks)
    return {"size": adapters[0].down.out_features, "twice": twice}


def add_bottlenecks(model: PretrainedModel, adapter: Adapter) -> None:
    """Add the adapters that the settings of an adapter folder say."""
    add_adapters(model, adapter.settings.whole("size"), adapter.settings.flag("twice"))


BOTTLENECK = own_layout("BOTTLENECK", Bottleneck, bottleneck_arguments, add_bottlenecks)


def prefix_arguments(model: PretrainedModel) -> dict[str, Any]:
    """Return the arguments of `add_prefix`."""
    return {"length": next(m for m in model.modules() if isinstance(m, PrefixAttention)).length}


def add_prefixes(model: PretrainedModel, adapter: Adapter) -> None:
    """Add the prefixes that the settings of an adapter folder say."""
    add_prefix(model, adapter.settings.whole("length"))


PREFIX_TUNING = own_layout("PREFIX", PrefixAttention, prefix_arguments, add_prefixes)


def prompt_arguments(model: PretrainedModel) -> dict[str, Any]:
    """Return the arguments of `add_soft_prompt`."""
    return {"length": model.base.prompt_length}


def add_prompts(model: PretrainedModel, adapter: Adapter) -> None:
    """Add the vectors that the settings of an adapter folder say."""
    add_soft_prompt(model, adapter.settings.whole("length"))


SOFT_PROMPT = own_layout("SOFT_PROMPT", SoftPrompt, prompt_arguments, add_prompts)
