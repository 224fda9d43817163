"""Safetensors in and out: a model folder is a Hugging Face folder.

`config.json` names the family; the family's tables (`bert.py`, `roberta.py` …) name the tensors.
Loading is strict: a tensor that is missing, unknown, of another shape or no floating-point number
is an error that names it. Another head's tensors are left in the file; a head that the caller
declares new (`labels=…`, `new_head=True`) may be missing. Each tensor goes straight from the mapped
file to its parameter: loading needs little more memory than the model.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import SafetensorError
from torch import nn

from plainformer.base import Fields, UserError, atomic_path, read_json, write_json
from plainformer.base.tensors import save_tensors
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.init import initialise, to_be_loaded
from plainformer.encoder.weights.added import load_added, save_added, split_state
from plainformer.encoder.weights.albert import ALBERT
from plainformer.encoder.weights.bert import BERT
from plainformer.encoder.weights.distilbert import DISTILBERT
from plainformer.encoder.weights.electra import ELECTRA
from plainformer.encoder.weights.family import Family, Tensors, listed
from plainformer.encoder.weights.folder import find, read_tensors
from plainformer.encoder.weights.labels import read_labels
from plainformer.encoder.weights.modernbert import MODERNBERT
from plainformer.encoder.weights.mpnet import MPNET
from plainformer.encoder.weights.native import OWN
from plainformer.encoder.weights.roberta import CAMEMBERT, ROBERTA, XLM_ROBERTA

if TYPE_CHECKING:
    from plainformer.encoder.pretrained import PretrainedModel

    Model = TypeVar("Model", bound=PretrainedModel)

__all__ = [
    "FAMILIES",
    "family_of",
    "find",
    "load",
    "load_added",
    "named_architectures",
    "read_labels",
    "read_tensors",
    "save",
    "save_added",
    "under_a_head",
    "under_their_prefix",
]

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
        OWN,  # the last: it takes what no other can express
    )
}
SETTINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "pooling": ("classifier_pooling", ("cls", "mean")),
    "problem_type": (
        "problem_type",
        ("single_label_classification", "multi_label_classification", "regression"),
    ),
}
"""Settings of models that read whole texts -> field of `config.json` and its valid values."""
READ_BY = {"SequenceClassifier": ("pooling", "problem_type"), "ChoiceScorer": ("pooling",)}
"""Our classes -> their settings."""
SCORES_TOKENS = ("MaskedLM", "PairedMaskedLM")
"""our classes that have a decoder, which may be tied to the embeddings"""


def save(model: "PretrainedModel", folder: Path) -> None:
    """Write `config.json` and `model.safetensors`; both are complete before either takes its name.

    What a method added to the model is left out: see `save_added`. Raises `UserError` when they
    cannot be written, the family has no name for a tensor, or the model was rounded to int8.
    """
    own, _ = split_state(under_a_head(model))
    if not all(tensor.is_floating_point() for tensor in own.values()):
        raise UserError("a model in int8 is not saved: save the one of which it was made")
    family = next(f for f in FAMILIES.values() if f.expresses(model.config))
    kind = type(model).__name__
    config = family.write_config(model.config)
    config["architectures"] = [family.architectures[kind]]
    labels = getattr(model, "labels", None)
    if labels is not None:
        config["id2label"] = {str(i): label for i, label in enumerate(labels)}
        config["label2id"] = {label: i for i, label in enumerate(labels)}
    for name, (field, _) in SETTINGS.items():
        if hasattr(model, name):
            config[field] = getattr(model, name)
    tensors = family.to_theirs(own, kind)
    if kind in SCORES_TOKENS and not model.config.tie_word_embeddings:
        tensors = family.with_second_bias(tensors)
    if kind == "Encoder":
        tensors = {name.removeprefix(family.prefix): tensor for name, tensor in tensors.items()}
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    try:
        with (
            atomic_path(folder / "config.json") as config_path,
            atomic_path(folder / "model.safetensors") as tensors_path,
        ):
            write_json(config_path, config)
            save_tensors(tensors, tensors_path, metadata={"format": "pt"})
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write the model to {folder}: {error}") from None


def load(
    cls: "type[Model]", folder: str | Path, new_head: bool, settings: Mapping[str, Any]
) -> "Model":
    """Build a `cls` from `config.json`, and copy the folder's tensors into it.

    With `new_head`, or `labels` among the `settings`, a head may be missing. A classifier of other
    labels, or of another kind of model, is not loaded. Raises `UserError` for a folder without a
    model, a family that is not known, a damaged file, and tensors that are missing, unexpected, of
    the wrong shape, no floating-point numbers, NaN or infinite. Sizes are compared with the file
    before anything of that size is allocated.
    """
    folder = find(folder)
    raw = read_json(folder / "config.json")
    kind = cls.__name__
    try:
        family = family_of(raw)
        config = family.read_config(raw)
        tensors = under_their_prefix(read_tensors(folder), family)
        check_layers(config, tensors, family, kind)
        arguments: dict[str, Any] = {}
        if kind == "Encoder":
            arguments["pooler"] = any(n.startswith(f"{family.prefix}pooler.") for n in tensors)
        if kind in ("SequenceClassifier", "TokenClassifier"):
            arguments["labels"] = known_labels(raw, settings)
        arguments |= read_settings(raw, READ_BY.get(kind, ()), arguments.get("labels", ()))
        if learned_otherwise(raw, family, kind, settings):
            decision = family.heads.get(kind, {}).get("classifier", "classifier")
            tensors = {k: v for k, v in tensors.items() if not k.startswith(f"{decision}.")}
        if kind in SCORES_TOKENS:
            family.settle_decoder(tensors, config.tie_word_embeddings)
        arguments |= settings
        with to_be_loaded(), torch.device("meta"):  # its shapes, without its memory
            plan = cls(config, **arguments)
        missing = check(plan, tensors, family, new_head or "labels" in settings)
        with to_be_loaded():
            model = cls(config, **arguments)
        model.newly_initialised = fill(model, tensors, family, missing)
    except UserError as error:
        named = str(error).startswith(str(folder))
        raise UserError(str(error) if named else f"{folder}: {error}") from None
    return model.eval()


def known_labels(raw: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Return the labels that the caller names, or those of `config.json`."""
    return list(settings["labels"]) if "labels" in settings else read_labels(raw)


def learned_otherwise(
    raw: Mapping[str, Any], family: Family, kind: str, settings: Mapping[str, Any]
) -> bool:
    """Tell whether the saved classifier was trained for other labels or by another head."""
    if "labels" in settings:
        try:
            if read_labels(raw) != list(settings["labels"]):
                return True
        except UserError:
            return True
    return made_by_another(raw, family, kind)


def made_by_another(raw: Mapping[str, Any], family: Family, kind: str) -> bool:
    """Tell whether `config.json` says that a head other than `kind` was saved."""
    named = named_architectures(raw)
    known = family.architectures
    return known[kind] not in named and any(name in named for name in known.values())


def named_architectures(raw: Mapping[str, Any]) -> list[str]:
    """Return the classes of `transformers` that `config.json` names."""
    names: list[str] = Fields(raw, "config.json").texts("architectures", [])
    return names


def check_layers(config: EncoderConfig, tensors: Tensors, family: Family, kind: str) -> None:
    """Compare the number of layers with the file's, before any is built."""
    if config.share_layers:
        return
    for layer in range(config.num_hidden_layers):
        (name,) = family.theirs(f"encoder.blocks.{layer}.attention.output.weight", kind)
        if name not in tensors:
            says = f"config.json says num_hidden_layers {config.num_hidden_layers}"
            raise UserError(f"missing tensors: {name}, and {says}")


def check(plan: "PretrainedModel", tensors: Tensors, family: Family, new_head: bool) -> list[str]:
    """Compare the file's tensors with the shapes of `plan`; return those missing of a `new_head`.

    Raises `UserError` naming the tensors that are missing, unexpected, of the wrong shape or no
    floating-point numbers.
    """
    kind = type(plan).__name__
    pairs = [
        pair
        for name, place in under_a_head(plan).state_dict().items()
        for pair in family.split(name, place, kind).items()
    ]
    missing = [source for source, _ in pairs if source not in tensors]
    heads = all(name.startswith(family.head_prefixes) for name in missing)
    if missing and not (heads and new_head):
        new = "labels=[…]" if hasattr(plan, "labels") else "new_head=True"
        hint = (
            f": it was not trained as a {kind}; take one that was (in Python, {new} gives it a new "
            "head, yet to be trained)"
        )
        raise UserError("missing tensors: " + listed(missing) + (hint if heads else ""))
    known = {source for source, _ in pairs} | {family.prefix + "embeddings.position_ids"}
    unexpected = [n for n in tensors if n not in known and not n.startswith(family.head_prefixes)]
    if unexpected:
        raise UserError("unexpected tensors: " + listed(sorted(unexpected)))
    there = [(source, tensors[source], place) for source, place in pairs if source in tensors]
    wrong = [
        f"{source} is {list(tensor.shape)}, expected {list(place.shape)}"
        for source, tensor, place in there
        if tensor.shape != place.shape
    ]
    if wrong:
        raise UserError("tensors of another shape than config.json says: " + listed(wrong))
    odd = [f"{name} is {t.dtype}" for name, t, _ in there if not t.is_floating_point()]
    if odd:
        raise UserError("tensors that are no floating-point numbers: " + listed(odd))
    return missing


def fill(
    model: "PretrainedModel", tensors: Tensors, family: Family, missing: Sequence[str]
) -> tuple[str, ...]:
    """Copy the file's tensors into `model`; initialise modules with a `missing` tensor, and name
    them.

    Raises `UserError` naming the tensors that hold NaN or an infinite number, which make every
    output NaN or constant.
    """
    kind = type(model).__name__
    places = {
        name: family.split(name, tensor, kind)
        for name, tensor in under_a_head(model).state_dict().items()
    }
    fresh = tuple(n for n, parts in places.items() if any(source in missing for source in parts))
    initialise(under_a_head(model), model.config, only=fresh)
    broken = []
    for parts in places.values():
        for source, place in parts.items():
            if source in tensors:
                place.copy_(tensors[source])
                # A sum keeps NaN and infinity, and costs a twentieth of looking at each number.
                if not place.sum().isfinite() and not place.isfinite().all():
                    broken.append(source)
    if broken:
        raise UserError(
            "tensors that hold NaN or infinite numbers: " + listed(broken) + ": training diverged, "
            "or the file is damaged; take another copy, or an earlier checkpoint"
        )
    return fresh


def under_a_head(model: "PretrainedModel") -> nn.Module:
    """The model as the families' tables name its parts: an encoder's begin with `encoder.`."""
    return model if hasattr(model, "encoder") else nn.ModuleDict({"encoder": model})


def under_their_prefix(tensors: Tensors, family: Family) -> Tensors:
    """The tensors as a model with a head names them, whether or not the file did."""
    renamed = {}
    for name, tensor in tensors.items():
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
        name = name.replace("LayerNorm.beta", "LayerNorm.bias")
        with_head = name.startswith((family.prefix, *family.head_prefixes))
        renamed[name if with_head else family.prefix + name] = tensor
    return renamed


def family_of(raw: Mapping[str, Any]) -> Family:
    """Find the family that `model_type` names."""
    kind = raw.get("model_type")
    if kind is None:
        named = named_architectures(raw)
        fits = [f for f in FAMILIES.values() if any(n in f.architectures.values() for n in named)]
        kind = (fits or [BERT])[0].model_type
        whose = "" if fits else " where it is a BERT"
        raise UserError(f'config.json has no model_type: add "model_type": "{kind}"{whose}')
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise UserError(
            f"model_type {kind!r:.60} is not supported; supported: {', '.join(FAMILIES)}"
        )
    return FAMILIES[kind]


def read_settings(
    raw: Mapping[str, Any], names: Sequence[str], labels: Sequence[str]
) -> dict[str, Any]:
    """Read the settings of a class from `config.json`, as far as they are there."""
    settings = {}
    for name in names:
        field, choices = SETTINGS[name]
        if raw.get(field) is not None:
            settings[name] = raw[field]
            if raw[field] not in choices:
                raise UserError(f"{field} {raw[field]!r:.60} is not supported")
    if settings.get("problem_type") == "single_label_classification" and len(labels) == 1:
        raise UserError("problem_type single_label_classification needs two labels, and has one")
    return settings
