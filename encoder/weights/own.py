"""What Hugging Face cannot express (ALiBi, RMSNorm, other mixtures): our own names and config."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from encoder.config import EncoderConfig
from encoder.weights.family import Family


def read_config(theirs: Mapping[str, Any]) -> EncoderConfig:
    """The fields of `EncoderConfig`, as they were written."""
    return EncoderConfig(
        **{f.name: theirs[f.name] for f in fields(EncoderConfig) if f.name in theirs}
    )


def write_config(ours: EncoderConfig) -> dict[str, Any]:
    """The fields of `EncoderConfig` under a `model_type` that no other library claims."""
    return {"model_type": "plainformer", **asdict(ours)}


OWN = Family(
    model_type="plainformer",
    prefix="encoder.",
    names={},
    heads=("head.", "bias", "classifier.", "encoder.pooler."),
    redundant=(),
    architectures={},
    read_config=read_config,
    write_config=write_config,
    expresses=lambda ours: True,
)
