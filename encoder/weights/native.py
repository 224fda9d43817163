"""The family of all other configs (ALiBi, RMSNorm, mixtures): our own fields and tensor names."""

from dataclasses import fields

from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.weights.family import ARCHITECTURES, Family

NATIVE = Family(
    model_type="plainformer",
    class_prefix="",
    prefix="encoder.",
    names={},
    heads={kind: {} for kind in ARCHITECTURES if kind != "Encoder"},
    head_prefixes=("head.", "bias", "decoder.", "classifier.", "encoder.pooler."),
    defaults=EncoderConfig(),
    fields={field.name: (field.name,) for field in fields(EncoderConfig)},
    fixed={},
)
