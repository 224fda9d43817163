"""Store weights in fewer bits: as 16-bit numbers, or as 8-bit integers with a scale for each row.

    bf16, fp16        model.safetensors: an ordinary folder, which `transformers` opens
    int8              model_int8.safetensors, and in config.json
                      "quantization_config": {"quant_method": "plainformer", "activations": …}

    W ≈ scale · W_q,  scale = max |W| / 127 of each row      X.weight (int8), X.scale

`activations` says how a model in int8 computes: `int8`, as `encoder.quantize_int8` made it, whose
layers multiply integers (LLM.int8, Dettmers et al. 2022, arXiv:2208.07339, without its outliers);
`static`, as `encoder.quantize_static` made it: X.input_scale, X.input_zero and X.correction are the
ranges of its activations (see `int8_static_linear`); `float`, whose matrices become floating-point
numbers again when they are loaded. `transformers` finds no weights in such a folder and says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from plainformer.base import Fields, UserError
from plainformer.encoder.int8_linear import Int8Linear
from plainformer.encoder.int8_static_linear import StaticLinear, join_feed_forward
from plainformer.encoder.merge import replace_linear
from plainformer.encoder.ops.int8 import to_int8
from plainformer.encoder.weights.family import Family, Tensors, headed

if TYPE_CHECKING:
    from plainformer.encoder.pretrained import PretrainedModel

Precision = Literal["fp32", "bf16", "fp16"]
Activations = Literal["int8", "static", "float"]
DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
FLOAT_FILE, INT8_FILE = "model.safetensors", "model_int8.safetensors"
FIELD, METHOD = "quantization_config", "plainformer"
TABLES = ("encoder.blocks.", "encoder.embeddings.")
"""The modules whose matrices are rounded to int8; heads keep theirs."""
RANGES = (".input_scale", ".input_zero", ".correction")
"""Endings of the names of a static int8 layer's tensors that describe the ranges of its inputs."""
EXACT = (".scale", *RANGES)


@dataclass(frozen=True)
class Storage:
    """The number formats of a file of weights."""

    weights: Precision | None = None
    """Round floating-point numbers to this format; None: keep theirs."""
    int8: bool = False
    """Round the matrices of blocks and embeddings to int8; the model computes without it."""

    def apply(self, state: Tensors) -> Tensors:
        """Return the tensors of a model, by our names, as they are stored."""
        stored: Tensors = {}
        for name, tensor in state.items():
            if self.int8 and tensor.dim() == 2 and name.startswith(TABLES):
                stored[name], scale = to_int8(tensor.detach().float())
                stored[_scale(name)] = scale.squeeze(-1)
            elif self.weights and tensor.is_floating_point() and not name.endswith(EXACT):
                stored[name] = _rounded(name, tensor, DTYPES[self.weights])
            else:
                stored[name] = tensor
        return stored


def _rounded(name: str, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Round to `dtype`; raise `UserError` where a number is too large for it."""
    rounded = tensor.to(dtype)
    if not rounded.isfinite().all():
        raise UserError(f"{name} holds numbers too large for {dtype}: take bf16 or fp32")
    return rounded


def _scale(name: str) -> str:
    return name.removesuffix("weight") + "scale"


def activations_of(raw: Mapping[str, Any]) -> Activations | None:
    """Read from `config.json` how a model in int8 computes; None for any other model.

    Raises `UserError` for a model quantised elsewhere.
    """
    if not raw.get(FIELD):
        return None
    settings = Fields(raw, "config.json").fields(FIELD)
    if settings.text("quant_method", None) != METHOD:
        raise UserError(f"{FIELD} is not supported: save the model without it")
    choice: Activations = settings.choice("activations", ("int8", "static", "float"))
    return choice


def quantization_config(activations: Activations) -> dict[str, Any]:
    """Return the fields of `config.json` that `activations_of` reads."""
    return {FIELD: {"quant_method": METHOD, "activations": activations}}


def refuse_other_storage(stored: Tensors, activations: Activations | None, folder: Path) -> None:
    """Raise `UserError` where the numbers of a file are not stored as `config.json` says."""
    is_int8 = any(t.dtype == torch.int8 and _scale(name) in stored for name, t in stored.items())
    is_static = any(name.endswith(RANGES) for name in stored)
    if is_int8 == (activations is not None) and is_static == (activations == "static"):
        return
    there = [name for name in (FLOAT_FILE, INT8_FILE) if (folder / name).is_file()]
    file = there[0] if there else "the file of weights"  # in shards, or of a model with an adapter
    if is_int8 and activations is not None:
        whose = "has ranges" if is_static else "has no ranges"
        fault = f"config.json says that activations are {activations}, and {file} {whose} of them"
    elif is_int8:
        fault = f"{file} is in int8, and config.json says nothing of it ({FIELD})"
    else:
        fault = f"config.json says that the weights are in int8 ({FIELD}), and {file} is not"
    remedy = f"remove {FLOAT_FILE}" if len(there) == 2 else "save the model anew"
    raise UserError(f"{fault}: one of the two is of another model; {remedy}")


def dequantised(stored: Tensors) -> Tensors:
    """Return scale · W_q for each matrix of integers, and the other tensors as they are."""
    tensors = {name: tensor for name, tensor in stored.items() if not name.endswith(RANGES)}
    for name, tensor in stored.items():
        if tensor.dtype == torch.int8 and _scale(name) in tensors:
            tensors[name] = tensor.float() * tensors.pop(_scale(name))[:, None]
    return tensors


def load_int8(
    model: "PretrainedModel", stored: Tensors, family: Family, activations: Activations
) -> None:
    """Make the linear layers in the blocks those of integers, with the `stored` numbers.

    Raises `UserError` for numbers that are missing, of another shape, NaN or infinite.
    """
    is_static = activations == "static"
    replace_linear(model.base.blocks, _empty_static if is_static else Int8Linear)
    for name, tensor in headed(model).state_dict().items():
        if name.endswith((".weight", *EXACT)) and name.startswith("encoder.blocks."):
            for part, target in family.split(name, tensor, model.class_name).items():
                found = stored.get(part)
                if found is None or found.shape != target.shape or not found.isfinite().all():
                    raise UserError(f"{part} is missing or damaged: take another copy")
                target.copy_(found)
    if is_static:
        for layer in model.base.blocks.modules():
            if isinstance(layer, StaticLinear):
                layer.settle()
        join_feed_forward(model.base.blocks, model.config.hidden_act)
    model.requires_grad_(False)


def _empty_static(weight: torch.Tensor, bias: torch.Tensor | None) -> StaticLinear:
    columns = weight.shape[1]
    return StaticLinear(weight, bias, torch.ones(columns), torch.zeros(columns), 0.0)
