"""What Hugging Face cannot express (ALiBi, RMSNorm, other mixtures): our own names and config."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from encoder.config import EncoderConfig
from encoder.weights.family import Family


class _SameName(dict[str, str]):
    """Every name stands for itself."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return name


def read_config(theirs: Mapping[str, Any]) -> EncoderConfig:
    """The fields of `EncoderConfig`, as they were written."""
    return EncoderConfig(**{f.name: theirs[f.name] for f in fields(EncoderConfig)})


def write_config(ours: EncoderConfig) -> dict[str, Any]:
    """The fields of `EncoderConfig` under a `model_type` that no other library claims."""
    return {"model_type": "plainformer", **asdict(ours)}


OWN = Family(
    model_type="plainformer",
    prefix="encoder.",
    names=_SameName(),
    redundant=(),
    architectures={
        "Encoder": "Encoder",
        "MaskedLM": "MaskedLM",
        "SequenceClassifier": "SequenceClassifier",
    },
    read_config=read_config,
    write_config=write_config,
    expresses=lambda ours: True,
)
