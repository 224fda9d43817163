"""RoBERTa (Liu et al. 2019, arXiv:1907.11692), and the families that differ in their vocabulary.

Positions begin at row `pad_token_id + 1` of the table. `max_position_embeddings` of `config.json`
counts all rows, that of `EncoderConfig` the positions of a text. In training multiple choice,
`transformers` drops before the classifier with `hidden_dropout_prob`; here with
`classifier_dropout`, where the config has it.
"""

from typing import Any

from plainformer.base import Fields
from plainformer.encoder.config import Architecture, EncoderConfig
from plainformer.encoder.weights.bert import FIELDS, NAMES
from plainformer.encoder.weights.family import ENCODERS_ONLY, Family

MASKED_LM = {
    "head.dense": "lm_head.dense",
    "head.norm": "lm_head.layer_norm",
    "decoder": "lm_head.decoder",
    "bias": "lm_head.bias",
}
SEQUENCE = {"head.dense": "classifier.dense", "classifier": "classifier.out_proj"}
PAD, ROWS = 1, 512


def read_places(raw: Fields) -> dict[str, Any]:
    """Read the row of the first position, and the number of positions from it on."""
    offset = raw.whole("pad_token_id", PAD) + 1
    rows = raw.whole("max_position_embeddings", ROWS, least=offset + 1)
    return {"position_offset": offset, "max_position_embeddings": rows - offset}


def write_places(config: EncoderConfig) -> dict[str, Any]:
    """Return the number of rows of the table."""
    return {"max_position_embeddings": config.max_position_embeddings + config.position_offset}


def _family(model_type: Architecture, class_prefix: str, vocab_size: int) -> Family:
    return Family(
        model_type=model_type,
        class_prefix=class_prefix,
        prefix="roberta.",
        names=NAMES,
        heads={
            "MaskedLM": MASKED_LM,
            "SequenceClassifier": SEQUENCE,
            "TokenClassifier": {"classifier": "classifier"},
            "QuestionAnswerer": {"classifier": "qa_outputs"},
            "ChoiceScorer": {"head.dense": "roberta.pooler.dense", "classifier": "classifier"},
        },
        head_prefixes=("lm_head.", "classifier.", "qa_outputs.", "roberta.pooler."),
        defaults=EncoderConfig(
            architecture=model_type,
            vocab_size=vocab_size,
            max_position_embeddings=ROWS - PAD - 1,
            position_offset=PAD + 1,
            pad_token_id=PAD,
            classifier_head="tanh",
        ),
        fields=FIELDS,
        fixed={**ENCODERS_ONLY, "hidden_act": "gelu"},
        positive=("type_vocab_size",),
        read=read_places,
        write=write_places,
    )


ROBERTA = _family("roberta", "Roberta", 50265)
XLM_ROBERTA = _family("xlm-roberta", "XLMRoberta", 30522)
CAMEMBERT = _family("camembert", "Camembert", 30522)
