"""BERT (Devlin et al. 2018, arXiv:1810.04805), as `transformers` writes it: `model_type: bert`.

The families after it share its fields and names, with a few changes.
"""

from typing import Any

from plainformer.base import Fields
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.weights.family import ENCODERS_ONLY, Family, Names

FIELDS = {
    "vocab_size": ("vocab_size",),
    "hidden_size": ("hidden_size",),
    "num_hidden_layers": ("num_hidden_layers",),
    "num_attention_heads": ("num_attention_heads",),
    "intermediate_size": ("intermediate_size",),
    "max_position_embeddings": ("max_position_embeddings",),
    "type_vocab_size": ("type_vocab_size",),
    "pad_token_id": ("pad_token_id",),
    "norm_eps": ("layer_norm_eps",),
    "tie_word_embeddings": ("tie_word_embeddings",),
    "embedding_dropout": ("hidden_dropout_prob",),
    "hidden_dropout": ("hidden_dropout_prob",),
    "attention_dropout": ("attention_probs_dropout_prob",),
    "classifier_dropout": ("classifier_dropout", "hidden_dropout_prob"),
    "initializer_range": ("initializer_range",),
}
NAMES: Names = {
    "embeddings.tokens": "embeddings.word_embeddings",
    "embeddings.positions": "embeddings.position_embeddings",
    "embeddings.segments": "embeddings.token_type_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "blocks.{}.attention.qkv": (
        "encoder.layer.{}.attention.self.query",
        "encoder.layer.{}.attention.self.key",
        "encoder.layer.{}.attention.self.value",
    ),
    "blocks.{}.attention.output": "encoder.layer.{}.attention.output.dense",
    "blocks.{}.attention_norm": "encoder.layer.{}.attention.output.LayerNorm",
    "blocks.{}.feed_forward.up": "encoder.layer.{}.intermediate.dense",
    "blocks.{}.feed_forward.down": "encoder.layer.{}.output.dense",
    "blocks.{}.feed_forward_norm": "encoder.layer.{}.output.LayerNorm",
    "pooler.dense": "pooler.dense",
}
MASKED_LM = {
    "head.dense": "cls.predictions.transform.dense",
    "head.norm": "cls.predictions.transform.LayerNorm",
    "decoder": "cls.predictions.decoder",
    "bias": "cls.predictions.bias",
}


def _read(raw: Fields) -> dict[str, Any]:
    own = raw.choice("plainformer_positions", ["learned", "sinusoidal"], "learned")
    return {"positions": own}


def _write(config: EncoderConfig) -> dict[str, Any]:
    """Mark a sinusoidal table: `transformers` reads it as a learned one."""
    own = config.positions == "sinusoidal"
    return {"plainformer_positions": config.positions} if own else {}


BERT = Family(
    model_type="bert",
    class_prefix="Bert",
    prefix="bert.",
    names=NAMES,
    heads={
        "MaskedLM": MASKED_LM,
        "PairedMaskedLM": {**MASKED_LM, "classifier": "cls.seq_relationship"},
        "SequenceClassifier": {"classifier": "classifier"},
        "TokenClassifier": {"classifier": "classifier"},
        "QuestionAnswerer": {"classifier": "qa_outputs"},
        "ChoiceScorer": {"classifier": "classifier"},
    },
    head_prefixes=("cls.", "classifier.", "qa_outputs.", "bert.pooler."),
    defaults=EncoderConfig(),
    fields={**FIELDS, "hidden_act": ("hidden_act",)},
    fixed=ENCODERS_ONLY,
    positive=("type_vocab_size",),
    read=_read,
    write=_write,
)
