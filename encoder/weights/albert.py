"""ALBERT (Lan et al. 2019, arXiv:1909.11942): one block for all layers, small embeddings."""

from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.weights.bert import FIELDS
from plainformer.encoder.weights.family import ENCODERS_ONLY, Family, Names

_BLOCK = "encoder.albert_layer_groups.{}.albert_layers.0"

NAMES: Names = {
    "embeddings.tokens": "embeddings.word_embeddings",
    "embeddings.positions": "embeddings.position_embeddings",
    "embeddings.segments": "embeddings.token_type_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "embeddings.projection": "encoder.embedding_hidden_mapping_in",
    "blocks.{}.attention.qkv": (
        f"{_BLOCK}.attention.query",
        f"{_BLOCK}.attention.key",
        f"{_BLOCK}.attention.value",
    ),
    "blocks.{}.attention.output": f"{_BLOCK}.attention.dense",
    "blocks.{}.attention_norm": f"{_BLOCK}.attention.LayerNorm",
    "blocks.{}.feed_forward.up": f"{_BLOCK}.ffn",
    "blocks.{}.feed_forward.down": f"{_BLOCK}.ffn_output",
    "blocks.{}.feed_forward_norm": f"{_BLOCK}.full_layer_layer_norm",
    "pooler.dense": "pooler",
}
MASKED_LM = {
    "head.dense": "predictions.dense",
    "head.norm": "predictions.LayerNorm",
    "decoder": "predictions.decoder",
    "bias": "predictions.bias",
}

ALBERT = Family(
    model_type="albert",
    class_prefix="Albert",
    prefix="albert.",
    names=NAMES,
    heads={
        "MaskedLM": MASKED_LM,
        "PairedMaskedLM": {**MASKED_LM, "classifier": "sop_classifier.classifier"},
        "SequenceClassifier": {"classifier": "classifier"},
        "TokenClassifier": {"classifier": "classifier"},
        "QuestionAnswerer": {"classifier": "qa_outputs"},
        "ChoiceScorer": {"classifier": "classifier"},
    },
    head_prefixes=("predictions.", "sop_", "classifier.", "qa_outputs.", "albert.pooler."),
    defaults=EncoderConfig(
        architecture="albert",
        vocab_size=30000,
        embedding_size=128,
        hidden_size=4096,
        share_layers=True,
        num_attention_heads=64,
        intermediate_size=16384,
        hidden_act="gelu_tanh",
        embedding_dropout=0.0,
        hidden_dropout=0.0,
        attention_dropout=0.0,
    ),
    fields={
        **FIELDS,
        "embedding_size": ("embedding_size",),
        "hidden_act": ("hidden_act",),
        "classifier_dropout": ("classifier_dropout_prob",),
    },
    fixed={**ENCODERS_ONLY, "num_hidden_groups": 1, "inner_group_num": 1},
    positive=("type_vocab_size", "embedding_size"),
)
