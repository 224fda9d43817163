"""Safetensors in and out: a model folder is a Hugging Face folder.

`config.json` names the family; the family's table (`bert.py`, `modernbert.py`) names the tensors.
Loading is strict: a tensor that is missing, unknown or of another shape is an error that names it.
Only a head that the caller declares new (`labels=…`) may be missing.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cellar import UserError, atomic_path, write_json
from encoder.config import EncoderConfig
from encoder.weights.bert import BERT
from encoder.weights.family import Family, Tensors, to_ours, to_theirs
from encoder.weights.modernbert import MODERNBERT
from encoder.weights.own import OWN

if TYPE_CHECKING:
    from encoder.pretrained import PretrainedModel

    Model = TypeVar("Model", bound=PretrainedModel)

FAMILIES = {family.model_type: family for family in (BERT, MODERNBERT, OWN)}
HEADS = ("head.", "bias", "classifier.", "encoder.pooler.")
"""where the names of heads begin; another head's tensors are left in the file"""


def save(model: "PretrainedModel", folder: Path) -> None:
    """Write `config.json` and `model.safetensors`; each file appears whole or not at all."""
    family = next(f for f in FAMILIES.values() if f.expresses(model.config))
    kind = type(model).__name__
    config = family.write_config(model.config)
    config["architectures"] = [family.architectures[kind]]
    config["tie_word_embeddings"] = True
    labels = getattr(model, "labels", None)
    if labels is not None:
        config["id2label"] = {str(i): label for i, label in enumerate(labels)}
        config["label2id"] = {label: i for i, label in enumerate(labels)}
        config["classifier_pooling"] = getattr(model, "pooling", "cls")
    bare = kind == "Encoder"
    ours = {f"encoder.{k}" if bare else k: v for k, v in model.state_dict().items()}
    theirs = to_theirs(ours, family)
    if bare:
        theirs = {name.removeprefix(family.prefix): tensor for name, tensor in theirs.items()}
    tensors = {name: tensor.contiguous() for name, tensor in theirs.items()}
    try:
        with atomic_path(folder / "model.safetensors") as path:
            save_file(tensors, path, metadata={"format": "pt"})
        write_json(folder / "config.json", config)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write the model to {folder}: {error}") from error


def load(cls: "type[Model]", folder: str | Path, settings: Mapping[str, Any]) -> "Model":
    """Build a `cls` as `config.json` says, and fill it with the folder's tensors.

    Raises `UserError` for a folder without a model, a family that is not known, a damaged file, and
    tensors that are missing, unexpected or of the wrong shape.
    """
    folder = find(folder)
    raw = read_json(folder / "config.json")
    family = family_of(raw, folder)
    try:
        config = family.read_config(raw)
        theirs = read_tensors(folder)
        theirs = with_prefix(theirs, family)
        model = build(cls, config, raw, theirs, settings)
        bare = cls.__name__ == "Encoder"
        wanted = {f"encoder.{k}" if bare else k: v for k, v in model.state_dict().items()}
        tensors, missing = to_ours(theirs, wanted, family)
        new = tuple(name for name in wanted if name not in tensors and name.startswith(HEADS))
        expected_new = "labels" in settings
        if missing and not (expected_new and len(wanted) == len(tensors) + len(new)):
            raise UserError("missing tensors: " + ", ".join(missing))
        refuse_unexpected(theirs, wanted, family)
        state = {k.removeprefix("encoder.") if bare else k: v for k, v in tensors.items()}
        model.load_state_dict(state, strict=False)
    except (UserError, TypeError, KeyError) as error:
        raise UserError(f"{folder}: {error}") from error
    model.newly_initialised = new
    return model.eval()


def build(
    cls: "type[Model]",
    config: EncoderConfig,
    raw: Mapping[str, Any],
    theirs: Tensors,
    settings: Mapping[str, Any],
) -> "Model":
    """A fresh model of the folder's shape; `settings` go to its constructor."""
    arguments: dict[str, Any] = {}
    if cls.__name__ == "SequenceClassifier":
        id2label = raw.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
        arguments["labels"] = [id2label[key] for key in sorted(id2label, key=int)]
        arguments["pooling"] = raw.get("classifier_pooling", "cls")
    elif cls.__name__ == "Encoder":
        arguments["pooler"] = any(".pooler." in name for name in theirs)
    return cls(config, **{**arguments, **settings})


def refuse_unexpected(theirs: Tensors, wanted: Mapping[str, Any], family: Family) -> None:
    """Raise `UserError` for tensors that no model of the family has."""
    known = {source for name in wanted for source in family.theirs(name)} | set(family.redundant)
    heads = (
        tuple(
            target
            for name, targets in family.names.items()
            if f"{name}.".startswith(HEADS)
            for target in ((targets,) if isinstance(targets, str) else targets)
        )
        or HEADS
    )
    unexpected = [n for n in theirs if n not in known and not n.startswith(heads)]
    if unexpected:
        raise UserError("unexpected tensors: " + ", ".join(sorted(unexpected)))


def with_prefix(theirs: Tensors, family: Family) -> Tensors:
    """The tensors named as a model with a head names them, whether or not the file did."""
    renamed = {}
    for name, tensor in theirs.items():
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
        name = name.replace("LayerNorm.beta", "LayerNorm.bias")
        heads = ("cls.", "head.", "classifier.", "decoder.", "bias")
        full = name if name.startswith((family.prefix, *heads)) else family.prefix + name
        renamed[full] = tensor
    return renamed


def find(folder: str | Path) -> Path:
    """The folder itself, or the cached copy of a hub id where `huggingface_hub` is installed."""
    path = Path(folder)
    if (path / "config.json").is_file():
        return path
    if path.exists():
        raise UserError(f"{path} is no model folder: it has no config.json")
    name = str(folder)
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise UserError(f"there is no folder {name}")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError(
            f"there is no folder {name}; to fetch a model of that name from the hub: "
            "pip install 'plainformer[hub]'"
        ) from None
    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.txt"]))
    except Exception as error:
        raise UserError(
            f"there is no folder {name}, and the hub did not give it: {error}"
        ) from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or a `UserError` that names the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is not readable JSON: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} is not a JSON object")
    return value


def family_of(raw: Mapping[str, Any], folder: Path) -> Family:
    """The family that `model_type` names."""
    kind = raw.get("model_type")
    if kind not in FAMILIES:
        raise UserError(
            f"{folder}: model_type {kind!r} is not supported; supported are {', '.join(FAMILIES)}"
        )
    return FAMILIES[kind]


def read_tensors(folder: Path) -> Tensors:
    """Every tensor of `model.safetensors`, mapped from the file, floating ones as float32."""
    path = folder / "model.safetensors"
    if not path.is_file():
        raise UserError("it has no model.safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"model.safetensors is damaged or cut short: {error}") from None
    return {k: v.to(torch.float32) if v.is_floating_point() else v for k, v in tensors.items()}
