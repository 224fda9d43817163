"""ModernBERT (Warner et al. 2024, arXiv:2412.13663): `model_type: modernbert`.

Its config is read in the form of `transformers` 4 and of 5, and written for both.
"""

from collections.abc import Mapping
from typing import Any

from cellar import UserError
from encoder.config import PRESETS, EncoderConfig
from encoder.weights.family import Family

SAME = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "pad_token_id",
    "norm_eps",
    "norm_bias",
    "tie_word_embeddings",
    "local_attention",
    "embedding_dropout",
    "attention_dropout",
    "classifier_dropout",
    "initializer_range",
)
NAMES = {
    "embeddings.tokens": "embeddings.tok_embeddings",
    "embeddings.norm": "embeddings.norm",
    "blocks.{}.attention_norm": "layers.{}.attn_norm",
    "blocks.{}.attention.qkv": "layers.{}.attn.Wqkv",
    "blocks.{}.attention.output": "layers.{}.attn.Wo",
    "blocks.{}.feed_forward_norm": "layers.{}.mlp_norm",
    "blocks.{}.feed_forward.up": "layers.{}.mlp.Wi",
    "blocks.{}.feed_forward.down": "layers.{}.mlp.Wo",
    "final_norm": "final_norm",
}
HEAD = {"head.dense": "head.dense", "head.norm": "head.norm"}
DECISION = {**HEAD, "classifier": "classifier"}


def _read(theirs: Mapping[str, Any]) -> dict[str, Any]:
    bias = theirs.get("attention_bias", False)
    if theirs.get("mlp_bias", False) != bias:
        raise UserError("biases in some layers and not in others are not supported")
    return {
        "bias": bias,
        "global_attn_every_n_layers": _every_n_layers(theirs),
        "global_rope_theta": _theta(theirs, "full_attention", "global_rope_theta", 160_000.0),
        "local_rope_theta": _theta(theirs, "sliding_attention", "local_rope_theta", 10_000.0),
    }


def _every_n_layers(theirs: Mapping[str, Any]) -> int:
    every = int(theirs.get("global_attn_every_n_layers", 3))
    layers = theirs.get("num_hidden_layers", 22)
    kinds = theirs.get("layer_types")
    n: int
    for n in (every, *range(1, layers + 1)):
        if kinds is None or kinds == _layer_types(layers, n):
            return n
    raise UserError("layer_types is no regular pattern of global and local layers: not supported")


def _layer_types(layers: int, every: int) -> list[str]:
    return ["sliding_attention" if i % every else "full_attention" for i in range(layers)]


def _theta(theirs: Mapping[str, Any], kind: str, old_field: str, default: float) -> float:
    rope = (theirs.get("rope_parameters") or {}).get(kind) or {}
    if rope.get("rope_type", "default") != "default":
        raise UserError(f"rope_type {rope['rope_type']!r} is not supported")
    return float(rope.get("rope_theta", theirs.get(old_field, default)))


def _write(ours: EncoderConfig) -> dict[str, Any]:
    return {
        "attention_bias": ours.bias,
        "mlp_bias": ours.bias,
        "global_attn_every_n_layers": ours.global_attn_every_n_layers,
        "layer_types": _layer_types(ours.num_hidden_layers, ours.global_attn_every_n_layers),
        "global_rope_theta": ours.global_rope_theta,
        "local_rope_theta": ours.local_rope_theta,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": ours.global_rope_theta},
            "sliding_attention": {"rope_type": "default", "rope_theta": ours.local_rope_theta},
        },
        # The tokenizer knows these; theirs would take the published vocabulary's for granted.
        **dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")),
    }


MODERNBERT = Family(
    model_type="modernbert",
    class_prefix="ModernBert",
    prefix="model.",
    names=NAMES,
    heads={
        "MaskedLM": {**HEAD, "decoder": "decoder", "bias": "decoder.bias"},
        "SequenceClassifier": DECISION,
        "TokenClassifier": DECISION,
        "QuestionAnswerer": DECISION,
        "ChoiceScorer": DECISION,
    },
    head_prefixes=("head.", "decoder.", "classifier."),
    defaults=PRESETS["modern-base"],
    fields={**{name: (name,) for name in SAME}, "hidden_dropout": ("mlp_dropout",)},
    fixed={
        "hidden_activation": "gelu",
        "classifier_activation": "gelu",
        "classifier_bias": False,
        "decoder_bias": True,
    },
    positive=("local_attention",),
    read=_read,
    write=_write,
)
