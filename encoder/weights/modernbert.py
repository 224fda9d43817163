"""ModernBERT (Warner et al. 2024, arXiv:2412.13663): `model_type: modernbert`."""

from collections.abc import Mapping
from typing import Any

from cellar import UserError
from encoder.config import EncoderConfig
from encoder.weights.family import Family

NAMES: dict[str, str | tuple[str, ...]] = {
    "encoder.embeddings.tokens": "model.embeddings.tok_embeddings",
    "encoder.embeddings.norm": "model.embeddings.norm",
    "encoder.blocks.{}.attention_norm": "model.layers.{}.attn_norm",
    "encoder.blocks.{}.attention.qkv": "model.layers.{}.attn.Wqkv",
    "encoder.blocks.{}.attention.output": "model.layers.{}.attn.Wo",
    "encoder.blocks.{}.feed_forward_norm": "model.layers.{}.mlp_norm",
    "encoder.blocks.{}.feed_forward.up": "model.layers.{}.mlp.Wi",
    "encoder.blocks.{}.feed_forward.down": "model.layers.{}.mlp.Wo",
    "encoder.final_norm": "model.final_norm",
    "head.dense": "head.dense",
    "head.norm": "head.norm",
    "bias": "decoder.bias",
    "classifier": "classifier",
}


def read_config(theirs: Mapping[str, Any]) -> EncoderConfig:
    """Their `config.json` as ours, in the form of `transformers` 4 or of 5."""
    for field in ("hidden_activation", "classifier_activation"):
        if theirs.get(field, "gelu") != "gelu":
            raise UserError(f"{field} {theirs[field]!r} is not supported: only gelu is")
    bias = theirs.get("attention_bias", False)
    if theirs.get("mlp_bias", False) != bias or theirs.get("classifier_bias", False):
        raise UserError("biases in some layers and not in others are not supported")
    layers = theirs.get("num_hidden_layers", 22)
    return EncoderConfig(
        architecture="modern",
        vocab_size=theirs.get("vocab_size", 50368),
        hidden_size=theirs.get("hidden_size", 768),
        num_hidden_layers=layers,
        num_attention_heads=theirs.get("num_attention_heads", 12),
        intermediate_size=theirs.get("intermediate_size", 1152),
        max_position_embeddings=theirs.get("max_position_embeddings", 8192),
        type_vocab_size=0,
        pad_token_id=theirs.get("pad_token_id", 50283),
        positions="rotary",
        norm_order="pre",
        norm_eps=theirs.get("norm_eps", 1e-5),
        norm_bias=theirs.get("norm_bias", False),
        bias=bias,
        gated=True,
        local_attention=theirs.get("local_attention", 128),
        global_attn_every_n_layers=_every_n_layers(theirs, layers),
        global_rope_theta=_theta(theirs, "full_attention", "global_rope_theta", 160_000.0),
        local_rope_theta=_theta(theirs, "sliding_attention", "local_rope_theta", 10_000.0),
        embedding_dropout=theirs.get("embedding_dropout", 0.0),
        hidden_dropout=theirs.get("mlp_dropout", 0.0),
        attention_dropout=theirs.get("attention_dropout", 0.0),
        classifier_dropout=theirs.get("classifier_dropout", 0.0),
        initializer_range=theirs.get("initializer_range", 0.02),
    )


def _every_n_layers(theirs: Mapping[str, Any], layers: int) -> int:
    every = int(theirs.get("global_attn_every_n_layers", 3))
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


def write_config(ours: EncoderConfig) -> dict[str, Any]:
    """Our config in their terms, readable by `transformers` 4 and 5."""
    layers, every = ours.num_hidden_layers, ours.global_attn_every_n_layers
    return {
        "model_type": "modernbert",
        "vocab_size": ours.vocab_size,
        "hidden_size": ours.hidden_size,
        "num_hidden_layers": layers,
        "num_attention_heads": ours.num_attention_heads,
        "intermediate_size": ours.intermediate_size,
        "hidden_activation": "gelu",
        "max_position_embeddings": ours.max_position_embeddings,
        "pad_token_id": ours.pad_token_id,
        "norm_eps": ours.norm_eps,
        "norm_bias": ours.norm_bias,
        "attention_bias": ours.bias,
        "mlp_bias": ours.bias,
        "local_attention": ours.local_attention,
        "global_attn_every_n_layers": every,
        "layer_types": _layer_types(layers, every),
        "global_rope_theta": ours.global_rope_theta,
        "local_rope_theta": ours.local_rope_theta,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": ours.global_rope_theta},
            "sliding_attention": {"rope_type": "default", "rope_theta": ours.local_rope_theta},
        },
        "embedding_dropout": ours.embedding_dropout,
        "mlp_dropout": ours.hidden_dropout,
        "attention_dropout": ours.attention_dropout,
        "classifier_dropout": ours.classifier_dropout,
        "classifier_bias": False,
        "decoder_bias": True,
        "initializer_range": ours.initializer_range,
    }


def expresses(ours: EncoderConfig) -> bool:
    """Whether `ours` is ModernBERT in everything that `transformers` takes for granted of it."""
    return (
        ours.architecture == "modern"
        and ours.positions == "rotary"
        and ours.norm == "layer_norm"
        and ours.norm_order == "pre"
        and ours.gated
        and ours.local_attention > 0
        and ours.type_vocab_size == 0
    )


MODERNBERT = Family(
    model_type="modernbert",
    prefix="model.",
    names=NAMES,
    heads=("head.", "decoder.", "classifier.", "qa_outputs."),
    redundant=(),
    architectures={
        "Encoder": "ModernBertModel",
        "MaskedLM": "ModernBertForMaskedLM",
        "SequenceClassifier": "ModernBertForSequenceClassification",
    },
    read_config=read_config,
    write_config=write_config,
    expresses=expresses,
)
