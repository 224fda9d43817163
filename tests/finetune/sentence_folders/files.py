"""Write the files of a sentence-transformers folder, in the layouts of several versions."""

from collections.abc import Mapping
from typing import Any

import torch

TEXTS = [
    "the encoder reads",
    "x",
    "From left to right, and back again while Tokens travel packed",
    "a [SEP] in the middle, Then Σ and ΟΔΟΣ",
    "tokens travel packed",
]
SIZE = 16
FOUR = ("Transformer", "Pooling", "Dense", "Normalize")
MODULE = "sentence_transformers.models."
FLAGS = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")

Files = Mapping[str, Any]
"""path in the folder → JSON, or the tensors of a Dense"""


def modules(*kinds: str, first: str = "") -> list[dict[str, Any]]:
    paths = [first, *(f"{n}_{kind}" for n, kind in enumerate(kinds) if n)]
    return [
        {"idx": n, "name": str(n), "path": path, "type": MODULE + kind}
        for n, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]


def pooled(*kinds: str, **settings: Any) -> dict[str, Any]:
    """A folder with a Pooling of these settings, and these modules after it."""
    return {
        "modules.json": modules("Transformer", "Pooling", *kinds),
        "1_Pooling/config.json": {"word_embedding_dimension": SIZE, **settings},
    }


def mode(*modes: str) -> dict[str, Any]:
    return {"pooling_mode": modes[0] if len(modes) == 1 else list(modes)}


def old(*flags: str) -> dict[str, Any]:
    """The keys before version 6; weightedmean and lasttoken were not there at first."""
    return {f"pooling_mode_{flag}": flag in flags for flag in FLAGS}


def dense(into: int, out: int, at: str = "2_Dense", **settings: Any) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(out)
    bias, residual = settings.get("bias", True), settings.get("use_residual", False)
    tensors = {"linear.weight": torch.randn(out, into, generator=generator) / 4}
    tensors |= {"linear.bias": torch.randn(out, generator=generator)} if bias else {}
    if residual and into != out:
        tensors["residual.weight"] = torch.randn(out, into, generator=generator) / 4
    config = {"in_features": into, "out_features": out, "bias": bias, **settings}
    return {f"{at}/config.json": config, f"{at}/model.safetensors": tensors}


def torch_name(activation: str) -> dict[str, str]:
    kind = "linear" if activation == "Identity" else "activation"
    return {"activation_function": f"torch.nn.modules.{kind}.{activation}"}


def reader(**settings: Any) -> dict[str, Any]:
    return {"sentence_bert_config.json": settings}


def prompts(default: str | None = None, **more: Any) -> dict[str, Any]:
    given = {"query": "a question: ", "passage": "passage:", "long": "from left to right "}
    settings = {"prompts": given, "default_prompt_name": default, **more}
    return {"config_sentence_transformers.json": settings}


MEAN = pooled("Normalize", **mode("mean"))
BARE = pooled(**mode("mean"))
TO_8 = dense(SIZE, 8)
