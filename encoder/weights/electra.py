"""ELECTRA (Clark et al. 2020, arXiv:2003.10555): BERT with embeddings of another size.

The discriminator is fine-tuned; the generator is a masked LM. In training multiple choice,
`transformers` drops before the classifier with `summary_last_dropout`; here `classifier_dropout`
holds for it, too.
"""

from typing import Any

from plainformer.base import Fields
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.weights.bert import FIELDS, NAMES
from plainformer.encoder.weights.family import ENCODERS_ONLY, Family

MASKED_LM = {
    "head.dense": "generator_predictions.dense",
    "head.norm": "generator_predictions.LayerNorm",
    "decoder": "generator_lm_head",
    "bias": "generator_lm_head.bias",
}
DISCRIMINATOR = {
    "head.dense": "discriminator_predictions.dense",
    "classifier": "discriminator_predictions.dense_prediction",
}
SEQUENCE = {"head.dense": "classifier.dense", "classifier": "classifier.out_proj"}
SUMMARY = {"summary_type": "first", "summary_use_proj": True, "summary_activation": "gelu"}
"""Fields of the summary layer, which represents the text in multiple choice."""
EMBEDDING, HIDDEN = 128, 256


def _read(raw: Fields) -> dict[str, Any]:
    """Read the size of the embeddings; 0, and no projection, where it is the hidden size."""
    size = raw.whole("embedding_size", EMBEDDING, least=1)
    return {"embedding_size": 0 if size == raw.whole("hidden_size", HIDDEN) else size}


def _write(config: EncoderConfig) -> dict[str, Any]:
    return {"embedding_size": config.token_size}


ELECTRA = Family(
    model_type="electra",
    class_prefix="Electra",
    prefix="electra.",
    names={
        **{k: v for k, v in NAMES.items() if k != "pooler.dense"},
        "embeddings.projection": "embeddings_project",
    },
    heads={
        "MaskedLM": MASKED_LM,
        "Discriminator": DISCRIMINATOR,
        "SequenceClassifier": SEQUENCE,
        "TokenClassifier": {"classifier": "classifier"},
        "QuestionAnswerer": {"classifier": "qa_outputs"},
        "ChoiceScorer": {"head.dense": "sequence_summary.summary", "classifier": "classifier"},
    },
    head_prefixes=(
        "generator_",
        "discriminator_",
        "sequence_summary.",
        "classifier.",
        "qa_outputs.",
    ),
    defaults=EncoderConfig(
        architecture="electra",
        embedding_size=EMBEDDING,
        hidden_size=HIDDEN,
        num_attention_heads=4,
        intermediate_size=1024,
        classifier_head="gelu",
    ),
    fields=FIELDS,
    fixed={**ENCODERS_ONLY, "hidden_act": "gelu", **SUMMARY},
    positive=("type_vocab_size",),
    read=_read,
    write=_write,
)
