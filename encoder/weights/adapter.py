"""Read an adapter: a folder with what was added to a model, without the model, as `peft` writes it.

    adapter_config.json          the method, and the folder or name of the base model
    adapter_model.safetensors    base_model.model.<name>: the added tensors, and those of the head
    tuning.json                  ours: the config.json of the tuned model, the base's fingerprint

The first two are `peft`'s, and enough. There is no config.json: with one, `transformers` takes the
folder for a whole model. What the added tensors mean is for the method to read: `from_pretrained`
is given a function for it, and refuses an adapter otherwise.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from plainformer.base import Fields, UserError, find_folder, read_json
from plainformer.encoder.weights.families import family_of, named_architectures
from plainformer.encoder.weights.family import ARCHITECTURES, Tensors
from plainformer.encoder.weights.folder import find, mapped, read_tensors

CONFIG, TENSORS, OWN = "adapter_config.json", "adapter_model.safetensors", "tuning.json"
FORMAT = 1
PREFIX = "base_model.model."
TOKENIZERS = ("tokenizer.json", "vocab.txt", "tokenizer.model", "spiece.model")
TASK_TYPES = {
    "Encoder": "FEATURE_EXTRACTION",
    "SequenceClassifier": "SEQ_CLS",
    "TokenClassifier": "TOKEN_CLS",
    "QuestionAnswerer": "QUESTION_ANS",
}
"""Class name -> `task_type` of `peft`; it has none for the others."""


def is_adapter(folder: Path) -> bool:
    """Tell whether `folder` holds an adapter."""
    return (folder / CONFIG).is_file()


@dataclass(frozen=True)
class Adapter:
    """The adapter in a folder, and its base model."""

    folder: Path
    settings: Fields
    """The fields of `adapter_config.json`."""
    own: Fields | None
    """The fields of `tuning.json`; None where `peft` wrote the folder."""

    @classmethod
    def of(cls, folder: Path) -> "Adapter":
        """Read the settings of the adapter in `folder`; raise `UserError` for a damaged file."""
        path = folder / OWN
        own = Fields(read_json(path), path) if path.is_file() else None
        if own is not None and own.whole("format") != FORMAT:
            raise own.wrong("format", str(FORMAT))
        return cls(folder, Fields(read_json(folder / CONFIG), folder / CONFIG), own)

    @cached_property
    def base(self) -> Path:
        """Find the folder of the base model, by the recorded path, or else by the recorded name.

        Raises `UserError` where it is missing, or an adapter itself.
        """
        recorded = [self.settings.text("base_model_name_or_path")]
        if self.own is not None:
            recorded.append(self.own.fields("base").text("name"))
        for name in recorded:
            try:
                return find(find_folder(name))
            except UserError as error:
                reason = error
        raise UserError(
            f"{self.folder} is an adapter of the model in {recorded[0]}, which is not found "
            f"({reason}): put it back, or write its place into base_model_name_or_path of {CONFIG}"
        )

    @cached_property
    def tensors(self) -> Tensors:
        """Map the tensors of the adapter, by the names that the base model has for them."""
        try:
            tensors = mapped(self.folder / TENSORS)
        except UserError as error:
            raise UserError(f"{self.folder}: {error}") from None
        return {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}

    def base_tensors(self) -> Tensors:
        """Map the tensors of the base model; raise `UserError` where it is no longer the same."""
        tensors = read_tensors(self.base)
        if self.own is not None:
            recorded = self.own.fields("base").text("fingerprint")
            if fingerprint(tensors, family_of(self.config()).head_prefixes) != recorded:
                raise UserError(
                    f"{self.folder} is an adapter of the model in {self.base}, whose weights have "
                    "changed since: put those back with which it was trained"
                )
        return tensors

    def config(self) -> dict[str, Any]:
        """Return the `config.json` of the tuned model.

        Of a folder that `peft` wrote it is the base's, with the class that `task_type` means, and
        as many labels as the head has rows.
        """
        if self.own is not None:
            return dict(self.own.fields("config").values)
        raw = read_json(self.base / "config.json")
        family, kind = family_of(raw), self.settings.text("task_type", None)
        name = next((name for name, theirs in TASK_TYPES.items() if theirs == kind), None)
        if name is None:
            return raw
        head = family.heads.get(name, {}).get("classifier")
        rows = self.tensors.get(f"{head}.bias")
        if rows is not None and name != "QuestionAnswerer" and len(raw_labels(raw)) != len(rows):
            raw["id2label"] = {str(number): f"LABEL_{number}" for number in range(len(rows))}
            raw["label2id"] = {label: int(n) for n, label in raw["id2label"].items()}
        return {**raw, "architectures": [family.architectures[name]]}

    @property
    def class_name(self) -> str:
        """Return the name of the class of the tuned model."""
        config = self.config()
        named, known = named_architectures(config), family_of(config).architectures
        found = next((name for name in ARCHITECTURES if known[name] in named), None)
        return found or "Encoder"


def tokenizer_folder(folder: Path) -> Path:
    """Return the folder with the tokenizer: the base model's where the adapter's has none."""
    is_bare = is_adapter(folder) and not any((folder / name).is_file() for name in TOKENIZERS)
    return Adapter.of(folder).base if is_bare else folder


def raw_labels(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the labels of a `config.json`, which by default are two."""
    labels = raw.get("id2label")
    return labels if isinstance(labels, dict) else {"0": "LABEL_0", "1": "LABEL_1"}


def read_config(folder: Path) -> dict[str, Any]:
    """Read the `config.json` of the model in `folder`, or of the one that its adapter makes."""
    return Adapter.of(folder).config() if is_adapter(folder) else read_json(folder / "config.json")


def fingerprint(tensors: Mapping[str, Tensor], head_prefixes: tuple[str, ...]) -> str:
    """Compute a hash of the tensors of an encoder: names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        if not name.startswith(head_prefixes):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
