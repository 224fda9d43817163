"""MPNet (Song et al. 2020, arXiv:2004.09297): RoBERTa without segments, with a relative bias."""

from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.weights.bert import FIELDS
from plainformer.encoder.weights.family import ENCODERS_ONLY, Family, Names
from plainformer.encoder.weights.roberta import (
    MASKED_LM,
    PAD,
    ROWS,
    SEQUENCE,
    read_places,
    write_places,
)

NAMES: Names = {
    "embeddings.tokens": "embeddings.word_embeddings",
    "embeddings.positions": "embeddings.position_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "distance_bias": "encoder.relative_attention_bias",
    "blocks.{}.attention.qkv": (
        "encoder.layer.{}.attention.attn.q",
        "encoder.layer.{}.attention.attn.k",
        "encoder.layer.{}.attention.attn.v",
    ),
    "blocks.{}.attention.output": "encoder.layer.{}.attention.attn.o",
    "blocks.{}.attention_norm": "encoder.layer.{}.attention.LayerNorm",
    "blocks.{}.feed_forward.up": "encoder.layer.{}.intermediate.dense",
    "blocks.{}.feed_forward.down": "encoder.layer.{}.output.dense",
    "blocks.{}.feed_forward_norm": "encoder.layer.{}.output.LayerNorm",
    "pooler.dense": "pooler.dense",
}

MPNET = Family(
    model_type="mpnet",
    class_prefix="MPNet",
    prefix="mpnet.",
    names=NAMES,
    heads={
        "MaskedLM": MASKED_LM,
        "SequenceClassifier": SEQUENCE,
        "TokenClassifier": {"classifier": "classifier"},
        "QuestionAnswerer": {"classifier": "qa_outputs"},
        "ChoiceScorer": {"head.dense": "mpnet.pooler.dense", "classifier": "classifier"},
    },
    head_prefixes=("lm_head.", "classifier.", "qa_outputs.", "mpnet.pooler."),
    defaults=EncoderConfig(
        architecture="mpnet",
        vocab_size=30527,
        max_position_embeddings=ROWS - PAD - 1,
        position_offset=PAD + 1,
        pad_token_id=PAD,
        type_vocab_size=0,
        relative_bias=True,
        classifier_head="tanh",
    ),
    fields={
        **{name: source for name, source in FIELDS.items() if name != "type_vocab_size"},
        "classifier_dropout": ("hidden_dropout_prob",),
    },
    fixed={
        **ENCODERS_ONLY,
        "hidden_act": "gelu",
        "pad_token_id": PAD,
        "relative_attention_num_buckets": 32,
    },
    read=read_places,
    write=write_places,
)
