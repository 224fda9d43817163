"""LoRA and DoRA in the layout of `peft`: lora_A, lora_B and lora_magnitude_vector of each layer.

Where the base model keeps as one layer what has parts here, the parts are one pair of matrices in
blocks, which gives the same product:

    A = [A_query; A_value]    B = [[B_query, 0], [0, 0], [0, B_value]]    the ranks add up

`tuning.json` names the parts, so that they are read back as they were.
"""

import re
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from plainformer.base import Fields, UserError
from plainformer.encoder.linear import Linear
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights import Adapter
from plainformer.encoder.weights.family import Tensors
from plainformer.finetune.tuning.dora import DoraLinear
from plainformer.finetune.tuning.layout import (
    Layout,
    Place,
    needed,
    places,
    places_by_layer,
    plain_layer,
)
from plainformer.finetune.tuning.lora import LoraLinear, lora_scale
from plainformer.finetune.tuning.merge import put

A, B, NORM = "lora_A.weight", "lora_B.weight", "lora_magnitude_vector"
ONLY = {
    "bias": "none",
    "fan_in_fan_out": False,
    "lora_bias": False,
    "use_qalora": False,
    "alora_invocation_tokens": None,
    "layer_replication": None,
    "trainable_token_indices": None,
    "target_parameters": None,
}
"""Fields of `adapter_config.json` with the one value that is supported."""


def layers_of(model: PretrainedModel) -> dict[str, LoraLinear]:
    """Return the layers with low-rank additions, by name."""
    return {name: m for name, m in model.named_modules() if isinstance(m, LoraLinear)}


def write(model: PretrainedModel) -> tuple[dict[str, Any], Tensors]:
    """Return the fields and the tensors of the layers of `model`."""
    layers, tensors = layers_of(model), dict[str, Tensor]()
    ranks, alphas = dict[str, int](), dict[str, float]()
    for name, place in places(model).items():
        layer = layers.get(place.layer)
        pair = None if layer is None else pair_of(layer, place.rows)
        if layer is None or pair is None:
            continue
        tensors[f"{name}.{A}"], tensors[f"{name}.{B}"] = pair
        ranks[name] = len(pair[0])
        alphas[name] = layer.scale * ranks[name]
        if isinstance(layer, DoraLinear):
            tensors[f"{name}.{NORM}"] = norms_of(layer)[place.rows]
    (rank, _), *_ = Counter(ranks.values()).most_common()
    (alpha, _), *_ = Counter(alphas.values()).most_common()
    fields = {
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": max(layer.dropout.p for layer in layers.values()),
        "use_dora": any(isinstance(layer, DoraLinear) for layer in layers.values()),
        "target_modules": sorted(ranks),
        "rank_pattern": {name: r for name, r in ranks.items() if r != rank},
        "alpha_pattern": {name: a for name, a in alphas.items() if a != alpha},
        "use_rslora": False,
        "init_lora_weights": True,
        **ONLY,
    }
    return fields, tensors


@torch.no_grad()
def pair_of(layer: LoraLinear, rows: slice) -> tuple[Tensor, Tensor] | None:
    """Return A and B of these rows of a layer: of one part, or in blocks of several."""
    parts = [p for p in layer.parts if overlap(layer.rows_of(p), rows)]
    if not parts:
        return None
    blocks = []
    for part in parts:
        own = layer.rows_of(part)
        whole = layer.b[part].new_zeros(layer.out_features, layer.b[part].shape[1])
        whole[own] = layer.b[part]
        blocks.append(whole[rows])
    return torch.cat([layer.a[part] for part in parts]), torch.cat(blocks, dim=1)


def overlap(one: slice, other: slice) -> bool:
    """Tell whether two ranges of rows have a row in common."""
    return bool(max(one.start, other.start) < min(one.stop, other.stop))


@torch.no_grad()
def norms_of(layer: DoraLinear) -> Tensor:
    """Return the trained norm of each row; of a row that is not tuned, the norm it has."""
    norms: Tensor = layer.weight.norm(dim=1)
    for part in layer.parts:
        norms[layer.rows_of(part)] = layer.m[part]
    return norms


@torch.no_grad()
def read(model: PretrainedModel, adapter: Adapter, tensors: Tensors) -> set[str]:
    """Put layers with these additions into `model`; return the names that were understood.

    Raises `UserError` for what is not supported, and for tensors of a wrong shape.
    """
    settings = adapter.settings
    needed(settings, **ONLY)
    is_dora, dropout = settings.flag("use_dora", False), settings.number("lora_dropout", 0.0)
    by_layer = places_by_layer(model, tensors, A)
    understood = set[str]()
    for path, found in by_layer.items():
        base = plain_layer(model, path)
        pairs: dict[str, tuple[Tensor, Tensor, Tensor | None]] = {}
        scales = set()
        for name, place in found.items():
            a, b = tensors[f"{name}.{A}"], get(tensors, f"{name}.{B}")
            norm = get(tensors, f"{name}.{NORM}") if is_dora else None
            size = place.rows.stop - place.rows.start
            if a.shape[1:] != (base.in_features,) or b.shape != (size, len(a)):
                raise UserError(f"the shapes of {name}.lora_A and lora_B do not fit the base model")
            understood |= {f"{name}.{end}" for end in (A, B, *((NORM,) if is_dora else ()))}
            scales.add(scale_of(settings, name, len(a)))
            pairs |= split(base, place, parts_of(adapter, path), a, b, norm)
        if len(scales) > 1:
            raise UserError(f"the parts of {path} have different alphas, which is not supported")
        kind = DoraLinear if is_dora else LoraLinear
        layer = kind(base, tuple(pairs), 1, scales.pop(), dropout)
        for part, (a, b, norm) in pairs.items():
            layer.a[part], layer.b[part] = parameter(a), parameter(b)
            if norm is not None and isinstance(layer, DoraLinear):
                layer.m[part] = parameter(norm)
        put(model, path, layer)
    return understood


def get(tensors: Tensors, name: str) -> Tensor:
    """Return a tensor; raise `UserError` where it is missing."""
    if name not in tensors:
        raise UserError(f"missing tensors: {name}")
    return tensors[name]


def parameter(tensor: Tensor) -> nn.Parameter:
    """Copy a tensor from the file into a parameter; raise `UserError` for NaN."""
    if not tensor.isfinite().all():
        raise UserError("tensors that hold NaN or infinite numbers: training diverged")
    return nn.Parameter(tensor.float().clone())


def parts_of(adapter: Adapter, layer: str) -> list[str]:
    """Return the recorded names of the parts of a layer, if any are."""
    if adapter.own is None or "parts" not in adapter.own:
        return []
    parts: list[str] = adapter.own.fields("parts").texts(layer.removeprefix("encoder."), [])
    return parts


def split(
    layer: Linear, place: Place, parts: list[str], a: Tensor, b: Tensor, norm: Tensor | None
) -> dict[str, tuple[Tensor, Tensor, Tensor | None]]:
    """Take a pair of matrices in blocks apart, into those of the recorded parts."""
    fits = bool(parts) and set(parts) <= set(layer.fused_parts) and len(a) % len(parts) == 0
    if "+" not in place.part or not fits:
        return {place.part: (a, b, norm)}
    found = {}
    for part, low, high in zip(parts, a.chunk(len(parts)), b.chunk(len(parts), 1), strict=True):
        rows = layer.rows_of(part)
        found[part] = low, high[rows], None if norm is None else norm[rows]
    return found


def scale_of(settings: Fields, name: str, rank: int) -> float:
    """Return the factor of B A of the layer `name`, as `peft` computes it."""
    alphas = settings.fields("alpha_pattern") if "alpha_pattern" in settings else None
    alpha = settings.number("lora_alpha", 8)
    for pattern in alphas.values if alphas else ():
        if alphas is not None and re.match(rf"(.*\.)?({re.escape(pattern)})$", name):
            alpha = alphas.number(pattern)
            break
    return lora_scale(rank, alpha, settings.flag("use_rslora", False))


LORA = Layout("LORA", lambda model: bool(layers_of(model)), write, read)
