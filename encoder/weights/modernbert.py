"""ModernBERT (Warner et al. 2024, arXiv:2412.13663): `model_type: modernbert`.

Its config is read in the form of `transformers` 4 and of 5, and written for both. In training,
`transformers` drops with `attention_dropout` after the output matrix of attention, too, and with
`mlp_dropout` before that of the feed-forward layer; here what is added to the input of either is
dropped with `mlp_dropout`. Published models have 0 for both.
"""

from typing import Any

from plainformer.base import Fields, UserError
from plainformer.encoder.config import PRESETS, EncoderConfig
from plainformer.encoder.weights.family import Family

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
ROPES = "full_attention", "sliding_attention"


def _read(raw: Fields) -> dict[str, Any]:
    bias = raw.flag("attention_bias", False)
    if raw.flag("mlp_bias", False) != bias:
        raise UserError("biases in some layers and not in others are not supported")
    if "rope_scaling" in raw:
        raise UserError("rope_scaling is not supported")
    # `sliding_window` counts the tokens on one side, `local_attention` those on both.
    window = raw.whole("sliding_window", None)
    if others := sorted(raw.fields("rope_parameters").values.keys() - {*ROPES}):
        raise UserError(f"rope_parameters with {others[0]} are not supported")
    global_theta = _theta(raw, "full_attention", "global_rope_theta", 160_000.0)
    # Version 4 reads null as the base of the global layers.
    local = global_theta if raw.values.get("local_rope_theta", 0) is None else 10_000.0
    return {
        "bias": bias,
        "global_attn_every_n_layers": _every_n_layers(raw),
        "global_rope_theta": global_theta,
        "local_rope_theta": _theta(raw, "sliding_attention", "local_rope_theta", local),
        **({} if window is None else {"local_attention": 2 * window}),
    }


def _every_n_layers(raw: Fields) -> int:
    every = raw.whole("global_attn_every_n_layers", 3, least=1)
    layers = raw.whole("num_hidden_layers", 22)
    kinds = raw.texts("layer_types", None)
    if kinds is None or kinds == _layer_types(layers, every):
        return every
    # From one global layer to the next.
    every = next((n for n in range(1, len(kinds)) if kinds[n] == "full_attention"), len(kinds))
    if kinds != _layer_types(layers, every):
        raise UserError(
            "layer_types is no regular pattern of global and local layers: not supported"
        )
    return every


def _layer_types(layers: int, every: int) -> list[str]:
    return ["sliding_attention" if i % every else "full_attention" for i in range(layers)]


def _theta(raw: Fields, kind: str, old_field: str, default: float) -> float:
    rope = raw.fields("rope_parameters").fields(kind)
    if (rope_type := rope.text("rope_type", "default")) != "default":
        raise UserError(f"rope_type {rope_type!r} is not supported")
    if others := sorted(rope.values.keys() - {"rope_type", "rope_theta"}):
        raise UserError(f"rope_parameters with {others[0]} are not supported")
    return float(rope.number("rope_theta", raw.number(old_field, default)))


def _write(config: EncoderConfig) -> dict[str, Any]:
    return {
        "attention_bias": config.bias,
        "mlp_bias": config.bias,
        "global_attn_every_n_layers": config.global_attn_every_n_layers,
        "layer_types": _layer_types(config.num_hidden_layers, config.global_attn_every_n_layers),
        "global_rope_theta": config.global_rope_theta,
        "local_rope_theta": config.local_rope_theta,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": config.global_rope_theta},
            "sliding_attention": {"rope_type": "default", "rope_theta": config.local_rope_theta},
        },
        # The tokenizer has these; the defaults of `transformers` are those of one vocabulary.
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
    fields={
        **{name: (name,) for name in SAME},
        "hidden_dropout": ("mlp_dropout",),
        "head_bias": ("classifier_bias",),
    },
    fixed={
        "hidden_activation": "gelu",
        "classifier_activation": "gelu",
        "decoder_bias": True,
    },
    positive=("local_attention",),
    read=_read,
    write=_write,
)
