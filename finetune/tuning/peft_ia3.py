"""IA³ in the layout of `peft`: the tensor ia3_l of each layer, of its input or of its output.

Where the base model keeps as one layer what has parts here, the scales of the other parts are 1;
`tuning.json` names the parts, so that they are read back as they were.
"""

import re
from typing import Any

import torch
from torch import Tensor

from plainformer.base import Fields, UserError
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights import Adapter
from plainformer.encoder.weights.family import Tensors
from plainformer.finetune.tuning.ia3 import ScaledLinear
from plainformer.finetune.tuning.layout import Layout, needed, places, places_by_layer, plain_layer
from plainformer.finetune.tuning.merge import put
from plainformer.finetune.tuning.peft_lora import overlap, parameter, parts_of

SCALE = "ia3_l"
ONLY = {"fan_in_fan_out": False, "exclude_modules": None}
"""Fields of `adapter_config.json` with the one value that is supported."""


def layers_of(model: PretrainedModel) -> dict[str, ScaledLinear]:
    """Return the layers with learned scales, by name."""
    return {name: m for name, m in model.named_modules() if isinstance(m, ScaledLinear)}


@torch.no_grad()
def write(model: PretrainedModel) -> tuple[dict[str, Any], Tensors]:
    """Return the fields and the tensors of the layers of `model`."""
    layers, tensors, of_input = layers_of(model), dict[str, Tensor](), list[str]()
    for name, place in places(model).items():
        layer = layers.get(place.layer)
        if layer is None:
            continue
        if layer.scales_input:
            of_input.append(name)
            tensors[f"{name}.{SCALE}"] = layer.scale()[None]  # (1, columns)
        elif any(overlap(layer.rows_of(part), place.rows) for part in layer.parts):
            tensors[f"{name}.{SCALE}"] = layer.scale()[place.rows, None]  # (rows, 1)
    targets = sorted(name.removesuffix(f".{SCALE}") for name in tensors)
    fields = {
        "target_modules": targets,
        "feedforward_modules": sorted(of_input),
        "init_ia3_weights": True,
        **ONLY,
    }
    return fields, tensors


@torch.no_grad()
def read(model: PretrainedModel, adapter: Adapter, tensors: Tensors) -> set[str]:
    """Put layers with these scales into `model`; return the names that were understood.

    Raises `UserError` for what is not supported, and for tensors of a wrong shape.
    """
    needed(adapter.settings, **ONLY)
    by_layer = places_by_layer(model, tensors, SCALE)
    for path, found in by_layer.items():
        base = plain_layer(model, path)
        scales, kinds = dict[str, Tensor](), set[bool]()
        for name, place in found.items():
            of_input = is_of_input(name, adapter.settings)
            rows = place.rows.stop - place.rows.start
            shape = (1, base.in_features) if of_input else (rows, 1)
            scale = tensors[f"{name}.{SCALE}"]
            if scale.shape != shape or (of_input and rows != base.out_features):
                raise UserError(f"the shape of {name}.{SCALE} does not fit the base model")
            kinds.add(of_input)
            scale, recorded = scale.flatten(), parts_of(adapter, path)
            if "+" in place.part and recorded and set(recorded) <= set(base.fused_parts):
                scales |= {part: scale[base.rows_of(part)] for part in recorded}
            else:
                scales[place.part] = scale
        layer = ScaledLinear(base, tuple(scales), *kinds)
        for part, scale in scales.items():
            layer.scales[part] = parameter(scale)
        put(model, path, layer)
    return {f"{name}.{SCALE}" for found in by_layer.values() for name in found}


def is_of_input(name: str, settings: Fields) -> bool:
    """Tell whether `peft` scales the input of the layer `name`: whether it is of a feed-forward."""
    modules = settings.values.get("feedforward_modules") or []
    if isinstance(modules, str):
        return re.fullmatch(modules, name) is not None
    return isinstance(modules, list) and name.endswith(tuple(map(str, modules)))


IA3 = Layout("IA3", lambda model: bool(layers_of(model)), write, read)
