"""Describe a family of models in a Hugging Face folder by tables, read in both directions.

A table of names maps a module (or parameter) of Plainformer to the one of Hugging Face (`hf_name`);
`{}` is the number of the layer. Where Hugging Face keeps several tensors for one, the right side is
a tuple: they are its equal parts along the first dimension.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from plainformer.base import Fields, UserError
from plainformer.encoder.config import MAX_SIZE, MAX_SIZES, MAY_BE_ZERO, EncoderConfig

if TYPE_CHECKING:
    from plainformer.encoder.pretrained import PretrainedModel

Tensors = dict[str, Tensor]
Names = Mapping[str, str | tuple[str, ...]]

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
"""Name in `config.json` -> name in `EncoderConfig`."""
ENCODERS_ONLY = {
    "is_decoder": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
}
"""Fields with the one value that is supported, which null means, too."""
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
"""Class name -> the class of `transformers`, after the prefix of its family."""
TYPES = {field.name: field.type for field in fields(EncoderConfig)}


def read_field(raw: Fields, source: str, name: str) -> Any:
    """Read the field `source` of `config.json`, with the type and bounds of our field `name`."""
    if TYPES[name] is bool:
        return raw.flag(source)
    if TYPES[name] is int:
        least = 0 if name in MAY_BE_ZERO else 1
        return raw.whole(source, least=least, most=MAX_SIZES.get(name, MAX_SIZE))
    return raw.number(source, least=0) if TYPES[name] is float else raw.text(source)


def _read_nothing(raw: Fields) -> dict[str, Any]:
    return {}


def _write_nothing(config: EncoderConfig) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Family:
    """The tables of one `model_type` of Hugging Face."""

    model_type: str
    class_prefix: str
    """Prefix of the names of its classes: "Bert"."""
    prefix: str
    """Prefix of the encoder's tensors in a model with a head; here it is `encoder.`."""
    names: Names
    """Names of the encoder's modules, without the prefix; empty: the same as here."""
    heads: Mapping[str, Names]
    """Names of the head's modules, by class name."""
    head_prefixes: tuple[str, ...]
    """Prefixes of the tensors of all heads, those without a class here included."""
    defaults: EncoderConfig
    """Values of fields that `config.json` leaves out or that it has no fields for."""
    fields: Mapping[str, tuple[str, ...]]
    """Field of `EncoderConfig` -> fields of `config.json`: the first that is there is read, the
    first of all is written."""
    fixed: Mapping[str, Any]
    """Fields of `config.json` with the one value that is supported."""
    positive: tuple[str, ...] = ()
    """Fields of `EncoderConfig` that this family does not allow to be 0."""
    read: Callable[[Fields], dict[str, Any]] = _read_nothing
    """Compute the fields of `EncoderConfig` that need more than another name."""
    write: Callable[[EncoderConfig], dict[str, Any]] = _write_nothing
    """Reverse `read`."""

    def read_config(self, config: Mapping[str, Any]) -> EncoderConfig:
        """Convert a `config.json`; raise `UserError` for an unsupported field."""
        raw = Fields(config, "config.json")
        for name, only in self.fixed.items():
            value = config.get(name, only)
            if value != only and not (value is None and name in ENCODERS_ONLY):
                raise UserError(f"{name} {value!r:.60} is not supported: only {only!r} is")
        if config.get("pruned_heads"):
            raise UserError("pruned_heads is not supported: save the model without it")
        values: dict[str, Any] = {}
        for name, sources in self.fields.items():
            source = next((source for source in sources if source in raw), None)
            if source is not None:
                values[name] = read_field(raw, source, name)
            if source is not None and name == "hidden_act":
                values[name] = ACTIVATIONS[raw.choice(source, list(ACTIVATIONS))]
        read = replace(self.defaults, **{**values, **self.read(raw)})
        for name in self.positive:
            if not getattr(read, name):
                raise UserError(f"{name} 0 is not supported in a model of type {self.model_type}")
        return read

    def write_config(self, config: EncoderConfig) -> dict[str, Any]:
        """Reverse `read_config`."""
        raw = {"model_type": self.model_type, **self.fixed}
        for name, (field, *_) in self.fields.items():
            raw[field] = getattr(config, name)
            if name == "hidden_act":
                raw[field] = next(k for k, v in ACTIVATIONS.items() if v == config.hidden_act)
        return {**raw, **self.write(config)}

    def expresses(self, config: EncoderConfig) -> bool:
        """Tell whether `config` is read back the same, once written."""
        try:
            return self.read_config(self.write_config(config)) == config
        except UserError:
            return False

    @property
    def architectures(self) -> dict[str, str]:
        """Return the class of `transformers` for each class name."""
        return {k: self.class_prefix + v if self.names else k for k, v in ARCHITECTURES.items()}

    @property
    def head_modules(self) -> set[str]:
        """Return the modules of all heads, by the names of Hugging Face."""
        named = [name for names in self.heads.values() for name in names.values()]
        return {name for one in named for name in ((one,) if isinstance(one, str) else one)}

    def hf_names(self, name: str, class_name: str) -> tuple[str, ...]:
        """Return the Hugging Face name, or names, of the tensor `name` of a model."""
        if not self.names:
            return (name,)
        template = re.sub(r"\.\d+\.", ".{}.", name)
        layer = re.findall(r"\.(\d+)\.", name)
        prefix, names = "", self.heads.get(class_name, {})
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

    def split(self, name: str, tensor: Tensor, class_name: str) -> Tensors:
        """Return views of the tensor `name`: the parts that Hugging Face keeps, by their names.

        What describes the input of a layer belongs to each of its parts, whole.
        """
        names = self.hf_names(name, class_name)
        if name.endswith((".input_scale", ".input_zero")):
            return dict.fromkeys(names, tensor)
        return dict(zip(names, tensor.chunk(len(names)), strict=True))

    def to_hf(self, state: Mapping[str, Tensor], class_name: str) -> Tensors:
        """Rename and split the tensors of a model."""
        return {
            hf_name: part
            for name, tensor in state.items()
            for hf_name, part in self.split(name, tensor, class_name).items()
        }

    def with_prefix(self, tensors: Tensors) -> Tensors:
        """Rename the tensors of a file as in a model with a head, whether or not it has one."""
        renamed = {}
        for name, tensor in tensors.items():
            name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
            name = name.replace("LayerNorm.beta", "LayerNorm.bias")
            is_prefixed = name.startswith((self.prefix, *self.head_prefixes))
            renamed[name if is_prefixed else self.prefix + name] = tensor
        return renamed

    def settle_decoder(self, tensors: Tensors, tied: bool) -> None:
        """Keep one bias of the masked-LM decoder; check that tied tensors are equal.

        Files often hold the decoder beside the table that it is tied to. An untied decoder has two
        biases, of which only its own is added. Raises `UserError` where a copy differs.
        """
        for copy, original in self._copies(tied).items():
            found = tensors.pop(copy, None)
            if found is not None and (not tied or original not in tensors):
                tensors[original] = found
            elif found is not None and not torch.equal(found, tensors[original]):
                raise UserError(f"tie_word_embeddings is true, but {copy} is not {original}")

    def with_second_bias(self, tensors: Tensors) -> Tensors:
        """Add the second bias that `transformers` expects of an untied decoder."""
        copies = {copy: tensors[name].clone() for copy, name in self._copies(tied=False).items()}
        return {**tensors, **copies}

    def _copies(self, tied: bool) -> dict[str, str]:
        """Return the names of the decoder's tensors that repeat another: copy -> original."""
        if not self.names:
            return {}
        (weight,) = self.hf_names("decoder.weight", "MaskedLM")
        (bias,) = self.hf_names("bias", "MaskedLM")
        (table,) = self.hf_names("encoder.embeddings.tokens.weight", "MaskedLM")
        own_bias = weight.removesuffix("weight") + "bias"
        return {
            **({weight: table} if tied else {}),
            **({own_bias: bias} if own_bias != bias else {}),
        }


def headed(model: "PretrainedModel") -> nn.Module:
    """Return a module that names an encoder's tensors as a model with a head: `encoder.…`."""
    return nn.ModuleDict({"encoder": model}) if model.base is model else model


def listed(names: Sequence[str]) -> str:
    """Join the first few of `names`, and count the others."""
    first = ", ".join(names[:4])
    return first if len(names) <= 4 else f"{first} and {len(names) - 4} more"
