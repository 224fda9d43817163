"""List the supported families, and find the one of a `config.json`."""

from collections.abc import Mapping
from typing import Any

from plainformer.base import Fields, UserError
from plainformer.encoder.weights.albert import ALBERT
from plainformer.encoder.weights.bert import BERT
from plainformer.encoder.weights.distilbert import DISTILBERT
from plainformer.encoder.weights.electra import ELECTRA
from plainformer.encoder.weights.family import Family
from plainformer.encoder.weights.modernbert import MODERNBERT
from plainformer.encoder.weights.mpnet import MPNET
from plainformer.encoder.weights.native import NATIVE
from plainformer.encoder.weights.roberta import CAMEMBERT, ROBERTA, XLM_ROBERTA

FAMILIES = {
    family.model_type: family
    for family in (
        BERT,
        ROBERTA,
        XLM_ROBERTA,
        CAMEMBERT,
        DISTILBERT,
        ELECTRA,
        ALBERT,
        MPNET,
        MODERNBERT,
        NATIVE,  # the last: it expresses every config
    )
}


def family_of(raw: Mapping[str, Any]) -> Family:
    """Find the family that `model_type` names."""
    model_type = raw.get("model_type")
    if model_type is None:
        named = named_architectures(raw)
        fits = [f for f in FAMILIES.values() if any(n in f.architectures.values() for n in named)]
        model_type = (fits or [BERT])[0].model_type
        condition = "" if fits else " where it is a BERT"
        raise UserError(
            f'config.json has no model_type: add "model_type": "{model_type}"{condition}'
        )
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise UserError(
            f"model_type {model_type!r:.60} is not supported; supported: {', '.join(FAMILIES)}"
        )
    return FAMILIES[model_type]


def named_architectures(raw: Mapping[str, Any]) -> list[str]:
    """Return the classes of `transformers` that `config.json` names."""
    names: list[str] = Fields(raw, "config.json").texts("architectures", [])
    return names
