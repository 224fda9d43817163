"""Safetensors in and out: a model folder is a Hugging Face folder.

`config.json` names the family; the family's table (`bert.py`, `modernbert.py`) names the tensors.
Loading is strict: a tensor that is missing, unknown or of another shape is an error that names it.
Another head's tensors are left in the file; a head that the caller declares new (`labels=…`) may be
missing.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from cellar import UserError, atomic_path, write_json
from encoder.config import EncoderConfig
from encoder.weights.bert import BERT
from encoder.weights.family import Family, Tensors, listed, to_ours, to_theirs
from encoder.weights.modernbert import MODERNBERT
from encoder.weights.own import OWN

if TYPE_CHECKING:
    from encoder.pretrained import PretrainedModel

    Model = TypeVar("Model", bound=PretrainedModel)

FAMILIES = {family.model_type: family for family in (BERT, MODERNBERT, OWN)}


def save(model: "PretrainedModel", folder: Path) -> None:
    """Write `config.json` and `model.safetensors`; both are complete before either takes its name.

    Raises `UserError` when they cannot be written, or the family has no name for a tensor.
    """
    family = next(f for f in FAMILIES.values() if f.expresses(model.config))
    kind = type(model).__name__
    config = family.write_config(model.config)
    config["architectures"] = [family.architectures.get(kind, kind)]
    config["tie_word_embeddings"] = True
    labels = getattr(model, "labels", None)
    if labels is not None:
        config["id2label"] = {str(i): label for i, label in enumerate(labels)}
        config["label2id"] = {label: i for i, label in enumerate(labels)}
        config["classifier_pooling"] = getattr(model, "pooling", "cls")
    tensors = to_theirs(under_a_head(model).state_dict(), family)
    if kind == "Encoder":
        tensors = {name.removeprefix(family.prefix): tensor for name, tensor in tensors.items()}
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    try:
        with (
            atomic_path(folder / "config.json") as config_path,
            atomic_path(folder / "model.safetensors") as tensors_path,
        ):
            write_json(config_path, config)
            save_file(tensors, tensors_path, metadata={"format": "pt"})
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write the model to {folder}: {error}") from None


def load(cls: "type[Model]", folder: str | Path, settings: Mapping[str, Any]) -> "Model":
    """Build a `cls` as `config.json` says, and fill it with the folder's tensors.

    With `labels` among the `settings`, a head may be missing, and the classifier is new unless the
    folder's has the same labels. Raises `UserError` for a folder without a model, a family that is
    not known, a damaged file, and tensors that are missing, unexpected or of the wrong shape.
    """
    folder = find(folder)
    raw = read_json(folder / "config.json")
    try:
        family = family_of(raw)
        config, labels = read_config(raw, family)
        tensors = under_their_prefix(read_tensors(folder), family)
        if list(settings.get("labels", labels)) != labels:
            tensors = {k: v for k, v in tensors.items() if not k.startswith("classifier.")}
        arguments: dict[str, Any] = {}
        if cls.__name__ == "Encoder":
            arguments = {"pooler": any(".pooler." in name for name in tensors)}
        elif cls.__name__ == "SequenceClassifier":
            arguments = {"labels": labels, "pooling": raw.get("classifier_pooling", "cls")}
        elif not raw.get("tie_word_embeddings", True):
            raise UserError("tie_word_embeddings false is not supported")
        model = cls(config, **{**arguments, **settings})
        model.newly_initialised = fill(model, tensors, family, "labels" in settings)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    return model.eval()


def fill(
    model: "PretrainedModel", tensors: Tensors, family: Family, new_head: bool
) -> tuple[str, ...]:
    """Copy their tensors into `model`; give the names of those of a `new_head` that are not there.

    Raises `UserError` naming the tensors that are missing, unexpected or of the wrong shape.
    """
    whole = under_a_head(model)
    wanted = whole.state_dict()
    found, missing = to_ours(tensors, wanted, family)
    heads = all(name.startswith(family.heads) for name in missing)
    if missing and not (heads and new_head):
        hint = "; for a new head pass labels=[…]" if heads and hasattr(model, "labels") else ""
        raise UserError("missing tensors: " + listed(missing) + hint)
    known = {source for name in wanted for source in family.theirs(name)}
    known.update(family.redundant)
    unexpected = [n for n in tensors if n not in known and not n.startswith(family.heads)]
    if unexpected:
        raise UserError("unexpected tensors: " + listed(sorted(unexpected)))
    whole.load_state_dict(found, strict=False)
    return tuple(name for name in wanted if name not in found)


def under_a_head(model: "PretrainedModel") -> nn.Module:
    """The model as the families' tables name its parts: an encoder's begin with `encoder.`."""
    return model if hasattr(model, "encoder") else nn.ModuleDict({"encoder": model})


def under_their_prefix(tensors: Tensors, family: Family) -> Tensors:
    """The tensors as a model with a head names them, whether or not the file did."""
    renamed = {}
    for name, tensor in tensors.items():
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
        name = name.replace("LayerNorm.beta", "LayerNorm.bias")
        full = name if name.startswith((family.prefix, *family.heads)) else family.prefix + name
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


def family_of(raw: Mapping[str, Any]) -> Family:
    """The family that `model_type` names."""
    kind = raw.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise UserError(f"model_type {kind!r} is not supported; supported: {', '.join(FAMILIES)}")
    return FAMILIES[kind]


def read_config(raw: Mapping[str, Any], family: Family) -> tuple[EncoderConfig, list[str]]:
    """What `config.json` says of the encoder, and its labels in order."""
    try:
        id2label = raw.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
        return family.read_config(raw), [id2label[key] for key in sorted(id2label, key=int)]
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"config.json has a value that makes no sense: {error}") from None


def read_tensors(folder: Path) -> Tensors:
    """Every tensor of `model.safetensors` as it stands; a model makes its copy float32."""
    path = folder / "model.safetensors"
    if not path.is_file():
        raise UserError("it has no model.safetensors, and no other format is read")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"model.safetensors is damaged or cut short: {error}") from None
