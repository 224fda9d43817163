"""A family of models on disk: tables of tensor names and of config fields, read in both directions.

A table of names pairs our module (or parameter) with theirs; `{}` stands for the number of the
layer. Where they keep several tensors that are one of ours, the right side is a tuple: theirs are
its equal parts along the first dimension.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from plainformer.base import Fields, UserError
from plainformer.encoder.config import MAY_BE_ZERO, MOST, MOST_OF_ANY, EncoderConfig

Tensors = dict[str, Tensor]
Names = Mapping[str, str | tuple[str, ...]]

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
"""their names → ours"""
ENCODERS_ONLY = {
    "is_decoder": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
}


ARCHITECTURES = {
    "Encoder": "Model",
    "MaskedLM": "ForMaskedLM",
    "PairedMaskedLM": "ForPreTraining",
    "Discriminator": "ForPreTraining",
    "SequenceClassifier": "ForSequenceClassification",
    "TokenClassifier": "ForTokenClassification",
    "QuestionAnswerer": "ForQuestionAnswering",
    "ChoiceScorer": "ForMultipleChoice",
}
"""our classes → theirs, after the family's own prefix"""


KINDS = {field.name: field.type for field in fields(EncoderConfig)}


def value(theirs: Fields, name: str, ours: str) -> Any:
    """Read the field `name` of their config, with the type and bounds of our field `ours`."""
    if KINDS[ours] is bool:
        return theirs.flag(name)
    if KINDS[ours] is int:
        least = 0 if ours in MAY_BE_ZERO else 1
        return theirs.whole(name, least=least, most=MOST.get(ours, MOST_OF_ANY))
    return theirs.number(name, least=0) if KINDS[ours] is float else theirs.text(name)


def _as_it_is(theirs: Fields) -> dict[str, Any]:
    return {}


def _nothing(ours: EncoderConfig) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Family:
    """How one `model_type` of Hugging Face maps to ours, and back."""

    model_type: str
    class_prefix: str
    """with what the names of their classes begin"""
    prefix: str
    """what a model with a head puts before the encoder's names; ours put `encoder.`"""
    names: Names
    """of the encoder, without the prefix; empty: every name is ours"""
    heads: Mapping[str, Names]
    """of what stands on the encoder, by our class"""
    head_prefixes: tuple[str, ...]
    """where the names of heads begin, of those here and of those that only they have"""
    defaults: EncoderConfig
    """what `config.json` may leave out, and what it takes for granted"""
    fields: Mapping[str, tuple[str, ...]]
    """our config field → theirs: the first that is there is read, the first is written"""
    fixed: Mapping[str, Any]
    """their fields of which only one value is supported"""
    positive: tuple[str, ...] = ()
    """our fields that may be 0 here, and not there"""
    read: Callable[[Fields], dict[str, Any]] = _as_it_is
    """our fields that take more than another name"""
    write: Callable[[EncoderConfig], dict[str, Any]] = _nothing
    """and theirs"""

    def read_config(self, config: Mapping[str, Any]) -> EncoderConfig:
        """Convert their `config.json` to ours; raise `UserError` for an unsupported field."""
        theirs = Fields(config, "config.json")
        for name, only in self.fixed.items():
            if config.get(name) not in (None, only):
                raise UserError(f"{name} {config[name]!r:.60} is not supported: only {only!r} is")
        for name in ("pruned_heads", "quantization_config"):
            if config.get(name):
                raise UserError(f"{name} is not supported: save the model without it")
        ours: dict[str, Any] = {}
        for name, sources in self.fields.items():
            source = next((source for source in sources if source in theirs), None)
            if source is not None:
                ours[name] = value(theirs, source, name)
            if source is not None and name == "hidden_act":
                ours[name] = ACTIVATIONS[theirs.choice(source, list(ACTIVATIONS))]
        shape = replace(self.defaults, **{**ours, **self.read(theirs)})
        for name in self.positive:
            if not getattr(shape, name):
                raise UserError(f"{name} 0 is not supported in a model of type {self.model_type}")
        return shape

    def write_config(self, ours: EncoderConfig) -> dict[str, Any]:
        """Our config in their terms."""
        theirs = {"model_type": self.model_type, **self.fixed}
        for name, (field, *_) in self.fields.items():
            theirs[field] = getattr(ours, name)
            if name == "hidden_act":
                theirs[field] = next(k for k, v in ACTIVATIONS.items() if v == ours.hidden_act)
        return {**theirs, **self.write(ours)}

    def expresses(self, ours: EncoderConfig) -> bool:
        """Whether `ours` comes back the same, once written in their terms."""
        try:
            return self.read_config(self.write_config(ours)) == ours
        except UserError:
            return False

    @property
    def architectures(self) -> dict[str, str]:
        """Our classes → theirs."""
        return {k: self.class_prefix + v if self.names else k for k, v in ARCHITECTURES.items()}

    def theirs(self, name: str, kind: str) -> tuple[str, ...]:
        """Their name, or names, for the tensor `name` of a model of our class `kind`."""
        if not self.names:
            return (name,)
        template = re.sub(r"\.\d+\.", ".{}.", name)
        layer = re.findall(r"\.(\d+)\.", name)
        prefix, names = "", self.heads.get(kind, {})
        if template.startswith("encoder."):
            prefix, names, template = self.prefix, self.names, template.removeprefix("encoder.")
        module, _, leaf = template.rpartition(".")
        if template in names:
            found, suffix = names[template], ""
        elif module in names:
            found, suffix = names[module], f".{leaf}"
        else:
            raise UserError(f"a model of type {self.model_type} has no {name}")
        templates = (found,) if isinstance(found, str) else found
        return tuple(prefix + t.format(*layer) + suffix for t in templates)

    def split(self, name: str, tensor: Tensor, kind: str) -> Tensors:
        """Our tensor `name` as their one tensor, or as the several that it is made of: views."""
        names = self.theirs(name, kind)
        return dict(zip(names, tensor.chunk(len(names)), strict=True))

    def to_theirs(self, ours: Mapping[str, Tensor], kind: str) -> Tensors:
        """The tensors of a model of our class `kind` under their names."""
        return {
            k: v for name, tensor in ours.items() for k, v in self.split(name, tensor, kind).items()
        }

    def settle_decoder(self, tensors: Tensors, tied: bool) -> None:
        """Leave one bias of the masked-LM decoder, and make sure that what is tied is equal.

        Files often hold the decoder beside what it is tied to. Untied, theirs adds the decoder's
        bias, and keeps another that does nothing. Raises `UserError` where a copy is none.
        """
        for copy, original in self._copies(tied).items():
            if copy in tensors and (not tied or original not in tensors):
                tensors[original] = tensors[copy]
            elif copy in tensors and not torch.equal(tensors[copy], tensors[original]):
                raise UserError(f"tie_word_embeddings is true, but {copy} is not {original}")

    def with_second_bias(self, tensors: Tensors) -> Tensors:
        """Beside the bias of an untied decoder, the other one that theirs expects to find."""
        copies = {copy: tensors[name].clone() for copy, name in self._copies(tied=False).items()}
        return {**tensors, **copies}

    def _copies(self, tied: bool) -> dict[str, str]:
        """Their names of the decoder's tensors that only repeat another's."""
        if not self.names:
            return {}
        (weight,) = self.theirs("decoder.weight", "MaskedLM")
        (bias,) = self.theirs("bias", "MaskedLM")
        (table,) = self.theirs("encoder.embeddings.tokens.weight", "MaskedLM")
        own_bias = weight.removesuffix("weight") + "bias"
        return {
            **({weight: table} if tied else {}),
            **({own_bias: bias} if own_bias != bias else {}),
        }


def listed(names: Sequence[str]) -> str:
    """The first few of `names`, and how many more there are."""
    first = ", ".join(names[:4])
    return first if len(names) <= 4 else f"{first} and {len(names) - 4} more"
