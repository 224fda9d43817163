"""DistilBERT (Sanh et al. 2019, arXiv:1910.01108): half of BERT's layers, no segments, no pooler.

`transformers` has no dropout before its pre-classifier; here there is one, as in RoBERTa. In
training it drops before the classifier of tokens with `dropout`, and of answers with `qa_dropout`;
here every head does with `seq_classif_dropout`, and `qa_dropout` is not kept.
"""

from typing import Any

from plainformer.base import Fields
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.weights.family import Family, Names, read_field

FIELDS = {
    "vocab_size": ("vocab_size",),
    "hidden_size": ("dim",),
    "num_hidden_layers": ("n_layers",),
    "num_attention_heads": ("n_heads",),
    "intermediate_size": ("hidden_dim",),
    "hidden_act": ("activation",),
    "max_position_embeddings": ("max_position_embeddings",),
    "pad_token_id": ("pad_token_id",),
    "tie_word_embeddings": ("tie_word_embeddings",),
    "embedding_dropout": ("dropout",),
    "hidden_dropout": ("dropout",),
    "attention_dropout": ("attention_dropout",),
    "classifier_dropout": ("seq_classif_dropout",),
    "initializer_range": ("initializer_range",),
}
NAMES: Names = {
    "embeddings.tokens": "embeddings.word_embeddings",
    "embeddings.positions": "embeddings.position_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "blocks.{}.attention.qkv": (
        "transformer.layer.{}.attention.q_lin",
        "transformer.layer.{}.attention.k_lin",
        "transformer.layer.{}.attention.v_lin",
    ),
    "blocks.{}.attention.output": "transformer.layer.{}.attention.out_lin",
    "blocks.{}.attention_norm": "transformer.layer.{}.sa_layer_norm",
    "blocks.{}.feed_forward.up": "transformer.layer.{}.ffn.lin1",
    "blocks.{}.feed_forward.down": "transformer.layer.{}.ffn.lin2",
    "blocks.{}.feed_forward_norm": "transformer.layer.{}.output_layer_norm",
}
MASKED_LM = {
    "head.dense": "vocab_transform",
    "head.norm": "vocab_layer_norm",
    "decoder": "vocab_projector",
    "bias": "vocab_projector.bias",
}
SEQUENCE = {"head.dense": "pre_classifier", "classifier": "classifier"}


ALIASES = ("hidden_size", "num_hidden_layers", "num_attention_heads")
"""BERT's names for `dim`, `n_layers` and `n_heads`; where both are present, BERT's decide."""


def _read(raw: Fields) -> dict[str, Any]:
    waves = raw.flag("sinusoidal_pos_embds", False)
    shape = {name: read_field(raw, name, name) for name in ALIASES if name in raw}
    return {"positions": "sinusoidal" if waves else "learned", **shape}


def _write(config: EncoderConfig) -> dict[str, Any]:
    return {"sinusoidal_pos_embds": config.positions == "sinusoidal"}


DISTILBERT = Family(
    model_type="distilbert",
    class_prefix="DistilBert",
    prefix="distilbert.",
    names=NAMES,
    heads={
        "MaskedLM": MASKED_LM,
        "SequenceClassifier": SEQUENCE,
        "TokenClassifier": {"classifier": "classifier"},
        "QuestionAnswerer": {"classifier": "qa_outputs"},
        "ChoiceScorer": SEQUENCE,
    },
    head_prefixes=("vocab_", "pre_classifier.", "classifier.", "qa_outputs."),
    defaults=EncoderConfig(
        architecture="distilbert",
        num_hidden_layers=6,
        type_vocab_size=0,
        classifier_head="relu",
        classifier_dropout=0.2,
    ),
    fields=FIELDS,
    fixed={},
    read=_read,
    write=_write,
)
