"""BERT (Devlin et al. 2018, arXiv:1810.04805), as `transformers` writes it: `model_type: bert`."""

from collections.abc import Mapping
from typing import Any

from cellar import UserError
from encoder.config import EncoderConfig
from encoder.weights.family import Family

_LAYER = "bert.encoder.layer.{}"

NAMES: dict[str, str | tuple[str, ...]] = {
    "encoder.embeddings.tokens": "bert.embeddings.word_embeddings",
    "encoder.embeddings.positions": "bert.embeddings.position_embeddings",
    "encoder.embeddings.segments": "bert.embeddings.token_type_embeddings",
    "encoder.embeddings.norm": "bert.embeddings.LayerNorm",
    "encoder.blocks.{}.attention.qkv": (
        f"{_LAYER}.attention.self.query",
        f"{_LAYER}.attention.self.key",
        f"{_LAYER}.attention.self.value",
    ),
    "encoder.blocks.{}.attention.output": f"{_LAYER}.attention.output.dense",
    "encoder.blocks.{}.attention_norm": f"{_LAYER}.attention.output.LayerNorm",
    "encoder.blocks.{}.feed_forward.up": f"{_LAYER}.intermediate.dense",
    "encoder.blocks.{}.feed_forward.down": f"{_LAYER}.output.dense",
    "encoder.blocks.{}.feed_forward_norm": f"{_LAYER}.output.LayerNorm",
    "encoder.pooler.dense": "bert.pooler.dense",
    "head.dense": "cls.predictions.transform.dense",
    "head.norm": "cls.predictions.transform.LayerNorm",
    "bias": "cls.predictions.bias",
    "classifier": "classifier",
}


def read_config(theirs: Mapping[str, Any]) -> EncoderConfig:
    """Their `config.json` as ours; `UserError` for what BERT's later variants changed."""
    if theirs.get("hidden_act", "gelu") != "gelu":
        raise UserError(f"hidden_act {theirs['hidden_act']!r} is not supported: only gelu is")
    if theirs.get("position_embedding_type", "absolute") != "absolute":
        raise UserError(
            f"position_embedding_type {theirs['position_embedding_type']!r} is not supported"
        )
    if theirs.get("is_decoder", False):
        raise UserError("is_decoder true is not supported: only encoders are")
    hidden_dropout = theirs.get("hidden_dropout_prob", 0.1)
    classifier_dropout = theirs.get("classifier_dropout")
    return EncoderConfig(
        architecture="bert",
        vocab_size=theirs.get("vocab_size", 30522),
        hidden_size=theirs.get("hidden_size", 768),
        num_hidden_layers=theirs.get("num_hidden_layers", 12),
        num_attention_heads=theirs.get("num_attention_heads", 12),
        intermediate_size=theirs.get("intermediate_size", 3072),
        max_position_embeddings=theirs.get("max_position_embeddings", 512),
        type_vocab_size=theirs.get("type_vocab_size", 2),
        pad_token_id=theirs.get("pad_token_id") or 0,
        positions=theirs.get("plainformer_positions", "learned"),
        norm_eps=theirs.get("layer_norm_eps", 1e-12),
        embedding_dropout=hidden_dropout,
        hidden_dropout=hidden_dropout,
        attention_dropout=theirs.get("attention_probs_dropout_prob", 0.1),
        classifier_dropout=hidden_dropout if classifier_dropout is None else classifier_dropout,
        initializer_range=theirs.get("initializer_range", 0.02),
    )


def write_config(ours: EncoderConfig) -> dict[str, Any]:
    """Our config in their terms. A sinusoidal table is written out as the table that it is."""
    theirs: dict[str, Any] = {
        "model_type": "bert",
        "vocab_size": ours.vocab_size,
        "hidden_size": ours.hidden_size,
        "num_hidden_layers": ours.num_hidden_layers,
        "num_attention_heads": ours.num_attention_heads,
        "intermediate_size": ours.intermediate_size,
        "hidden_act": "gelu",
        "max_position_embeddings": ours.max_position_embeddings,
        "type_vocab_size": ours.type_vocab_size,
        "pad_token_id": ours.pad_token_id,
        "layer_norm_eps": ours.norm_eps,
        "hidden_dropout_prob": ours.hidden_dropout,
        "attention_probs_dropout_prob": ours.attention_dropout,
        "classifier_dropout": ours.classifier_dropout,
        "initializer_range": ours.initializer_range,
    }
    if ours.positions == "sinusoidal":
        theirs["plainformer_positions"] = "sinusoidal"
    return theirs


def expresses(ours: EncoderConfig) -> bool:
    """Whether `ours` is BERT in everything that `transformers` takes for granted of it."""
    return (
        ours.architecture == "bert"
        and ours.positions in ("learned", "sinusoidal")
        and ours.norm == "layer_norm"
        and ours.norm_order == "post"
        and ours.norm_bias
        and ours.bias
        and not ours.gated
        and not ours.local_attention
        and ours.type_vocab_size > 0
        and ours.embedding_dropout == ours.hidden_dropout
    )


BERT = Family(
    model_type="bert",
    prefix="bert.",
    names=NAMES,
    heads=("cls.", "classifier.", "qa_outputs.", "bert.pooler."),
    redundant=("bert.embeddings.position_ids",),
    architectures={
        "Encoder": "BertModel",
        "MaskedLM": "BertForMaskedLM",
        "SequenceClassifier": "BertForSequenceClassification",
    },
    read_config=read_config,
    write_config=write_config,
    expresses=expresses,
)
