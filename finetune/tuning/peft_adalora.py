"""AdaLoRA in the layout of `peft`: lora_A, lora_B and lora_E of each layer, where λ is not 0.

`rank_pattern` says which triplets of the first rank, `init_r`, are left. `peft` divides
`lora_alpha` by `init_r` + 1e-5, and so the number that is written is that much larger. Where the
base model keeps as one layer what has parts here, the parts are one addition in blocks, as in
`peft_lora`; they are read back as one, which computes the same.
"""

from typing import Any

import torch
from torch import Tensor

from plainformer.base import UserError
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights import Adapter
from plainformer.encoder.weights.family import Tensors
from plainformer.finetune.tuning.adalora import AdaLoraLinear
from plainformer.finetune.tuning.layout import Layout, needed, places, places_by_layer, plain_layer
from plainformer.finetune.tuning.merge import put
from plainformer.finetune.tuning.peft_lora import ONLY, get, overlap, pair_of, parameter

A, B, E = "lora_A", "lora_B", "lora_E"
EPSILON = 1e-5


def layers_of(model: PretrainedModel) -> dict[str, AdaLoraLinear]:
    """Return the layers with additions P Λ Q, by name."""
    return {name: m for name, m in model.named_modules() if isinstance(m, AdaLoraLinear)}


@torch.no_grad()
def write(model: PretrainedModel) -> tuple[dict[str, Any], Tensors]:
    """Return the fields and the tensors of the layers of `model`."""
    layers, tensors = layers_of(model), dict[str, Tensor]()
    patterns = dict[str, list[bool]]()
    for name, place in places(model).items():
        layer = layers.get(place.layer)
        pair = None if layer is None else pair_of(layer, place.rows)
        if layer is None or pair is None:
            continue
        e = torch.cat([layer.e[p] for p in layer.parts if overlap(layer.rows_of(p), place.rows)])
        left, (a, b) = e != 0, pair
        tensors[f"{name}.{A}"], tensors[f"{name}.{B}"] = a[left], b[:, left]
        tensors[f"{name}.{E}"] = e[left, None]
        patterns[name] = left.tolist()
    rank = max(len(pattern) for pattern in patterns.values())
    one = next(iter(layers.values()))
    fields = {
        "init_r": rank,
        "target_r": round(sum(map(sum, patterns.values())) / len(patterns)),
        "lora_alpha": one.scale * (rank + EPSILON),
        "lora_dropout": max(layer.dropout.p for layer in layers.values()),
        "target_modules": sorted(patterns),
        "rank_pattern": {
            f"{name}.{E}": [*left, *[False] * (rank - len(left))] for name, left in patterns.items()
        },
        "total_step": 1,  # of a schedule that is over
        "init_lora_weights": True,
        **ONLY,
    }
    return fields, tensors


@torch.no_grad()
def read(model: PretrainedModel, adapter: Adapter, tensors: Tensors) -> set[str]:
    """Put layers with these additions into `model`; return the names that were understood.

    Raises `UserError` for what is not supported, and for tensors of a wrong shape.
    """
    settings = adapter.settings
    needed(settings, **ONLY)
    rank, alpha = settings.whole("init_r"), settings.number("lora_alpha")
    if rank < 1:
        raise settings.wrong("init_r", str(rank))
    scale = (alpha if alpha > 0 else rank) / (rank + EPSILON)
    by_layer = places_by_layer(model, tensors, A)
    understood = set[str]()
    for path, found in by_layer.items():
        base = plain_layer(model, path)
        parts = tuple(place.part for place in found.values())
        layer = AdaLoraLinear(base, parts, 1, scale, settings.number("lora_dropout", 0.0))
        for name, place in found.items():
            a, b, e = (get(tensors, f"{name}.{end}") for end in (A, B, E))
            rows = place.rows.stop - place.rows.start
            shapes = (len(a), base.in_features), (rows, len(a)), (len(a), 1)
            if (a.shape, b.shape, e.shape) != shapes:
                raise UserError(f"the shapes of {name}.{A}, {B} and {E} do not fit the base model")
            layer.a[place.part], layer.b[place.part] = parameter(a), parameter(b)
            layer.e[place.part] = parameter(e.flatten())
            understood |= {f"{name}.{end}" for end in (A, B, E)}
        put(model, path, layer)
    return understood


ADALORA = Layout("ADALORA", lambda model: bool(layers_of(model)), write, read)
