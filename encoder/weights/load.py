"""Load a model from a folder: build it, check its tensors, copy them.

Loading is strict: a tensor that is missing, unknown, of another shape or no floating-point number
is an error that names it. The tensors of another head are left in the file, and so are unknown ones
beside those of the head, unless `config.json` names the class of the model; a head that the caller
declares new (`labels=…`, `new_head=True`) may be missing. Each tensor is copied from the mapped
file to its parameter: loading needs little more memory than the model.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from plainformer.base import UserError, find_folder, read_json
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.init import initialise, skip_init
from plainformer.encoder.weights.adapter import Adapter, is_adapter
from plainformer.encoder.weights.families import family_of, named_architectures
from plainformer.encoder.weights.family import Family, Tensors, headed, listed
from plainformer.encoder.weights.folder import find, read_tensors
from plainformer.encoder.weights.labels import read_labels
from plainformer.encoder.weights.settings import read_settings
from plainformer.encoder.weights.storage import (
    activations_of,
    dequantised,
    load_int8,
    refuse_other_storage,
)

if TYPE_CHECKING:
    from plainformer.encoder.pretrained import PretrainedModel

    Model = TypeVar("Model", bound=PretrainedModel)

AddTensors = Callable[["PretrainedModel", Adapter, Tensors], None]
"""Add to a model, in place, the tensors of an adapter that are not the model's own."""


def load(
    cls: "type[Model]",
    folder: str | Path,
    new_head: bool,
    settings: Mapping[str, Any],
    add: AddTensors | None = None,
) -> "Model":
    """Build a `cls` from `config.json`, and copy the folder's tensors into it.

    With `add`, the folder may be an adapter's (see `weights.adapter`): its base model is loaded,
    with the head of the adapter, and `add` adds the rest.

    With `new_head`, or `labels` among the `settings`, a head may be missing. A classifier of other
    labels, or of another class of model, is not loaded. Raises `UserError` for a folder without a
    model, a family that is not known, a damaged file, and tensors that are missing, unexpected, of
    the wrong shape, no floating-point numbers, NaN or infinite. Sizes are compared with the file
    before anything of that size is allocated.
    """
    folder = find_folder(folder)
    adapter = Adapter.of(folder) if add is not None and is_adapter(folder) else None
    raw = read_json(find(folder) / "config.json") if adapter is None else adapter.config()
    try:
        family = family_of(raw)
        config, activations = family.read_config(raw), activations_of(raw)
        found = read_tensors(folder) if adapter is None else adapter.base_tensors()
        refuse_other_storage(found, activations, folder)
        stored = family.with_prefix(found)
        tensors = dequantised(stored) if activations else dict(stored)
        more = {} if adapter is None else family.with_prefix(adapter.tensors)
        check_layers(config, tensors, family, cls.class_name)
        if is_other_classifier(raw, family, cls.class_name, settings):
            classifier = family.heads.get(cls.class_name, {}).get("classifier", "classifier")
            tensors = {k: v for k, v in tensors.items() if not k.startswith(f"{classifier}.")}
        if cls.has_decoder:
            for part in (tensors, more):
                family.settle_decoder(part, config.tie_word_embeddings)
        arguments = read_settings(raw, cls.saved_settings, settings)
        if cls.class_name == "Encoder":
            pooler = f"{family.prefix}pooler."
            has_pooler = any(name.startswith(pooler) for name in (*tensors, *more))
            arguments = {"pooler": has_pooler, **arguments}
        with skip_init(), torch.device("meta"):  # the shapes, without memory
            plan = cls(config, **arguments)
        own = {name: more[name] for name in more.keys() & targets_in(plan, family).keys()}
        tensors |= own
        is_named = family.architectures[cls.class_name] in named_architectures(raw)
        missing = check(plan, tensors, family, new_head or "labels" in settings, is_named)
        with skip_init():
            model = cls(config, **arguments)
        model.newly_initialised = copy_tensors(tensors, model, family, missing)
        if activations in ("int8", "static"):
            load_int8(model, stored, family, activations)
        if add is not None and adapter is not None:
            model.newly_initialised = names_of(model, family, own)
            modules = modules_in(plan, family) - {name.rpartition(".")[0] for name in missing}
            added = {
                name: tensor
                for name, tensor in more.items()
                if name not in own and not is_of_another_head(name, modules, family)
            }
            add(model, adapter, added)
    except UserError as error:
        says_where = str(error).startswith(str(folder))
        raise UserError(str(error) if says_where else f"{folder}: {error}") from None
    return model.eval()


def is_other_classifier(
    raw: Mapping[str, Any], family: Family, class_name: str, settings: Mapping[str, Any]
) -> bool:
    """Tell whether the saved classifier was trained for other labels or by another class."""
    if "labels" in settings:
        try:
            if read_labels(raw) != list(settings["labels"]):
                return True
        except UserError:
            return True
    named, known = named_architectures(raw), family.architectures
    return known[class_name] not in named and any(name in named for name in known.values())


def check_layers(config: EncoderConfig, tensors: Tensors, family: Family, class_name: str) -> None:
    """Compare the number of layers with the file's, before any is built."""
    if config.share_layers:
        return
    for layer in range(config.num_hidden_layers):
        (name,) = family.hf_names(f"encoder.blocks.{layer}.attention.output.weight", class_name)
        if name not in tensors:
            says = f"config.json says num_hidden_layers {config.num_hidden_layers}"
            raise UserError(f"missing tensors: {name}, and {says}")


def targets_in(model: "PretrainedModel", family: Family) -> Tensors:
    """Return the parts of the model's tensors that Hugging Face keeps, by their names."""
    return {
        hf_name: target
        for name, tensor in headed(model).state_dict().items()
        for hf_name, target in family.split(name, tensor, model.class_name).items()
    }


def modules_in(model: "PretrainedModel", family: Family) -> set[str]:
    """Return the names that Hugging Face has for the modules of a model; a tied decoder is one."""
    decoder = family.hf_names("decoder.weight", model.class_name) if model.has_decoder else ()
    return {name.rpartition(".")[0] for name in (*targets_in(model, family), *decoder)}


def is_of_another_head(name: str, modules: set[str], family: Family) -> bool:
    """Tell whether the tensor `name` is in a head, and its innermost known module not in `modules`.

    In a tagger of RoBERTa, classifier.lora_A is its own, classifier.dense.lora_A of another head.
    """
    known, parts = modules | family.head_modules, name.split(".")
    around = (".".join(parts[:count]) for count in reversed(range(len(parts))))
    inner = next((module for module in around if module and module in known), None)
    return name.startswith(family.head_prefixes) and inner not in modules


def names_of(model: "PretrainedModel", family: Family, own: Tensors) -> tuple[str, ...]:
    """Return the names of the model's tensors whose parts are all among `own`."""
    named = {n: family.hf_names(n, model.class_name) for n in headed(model).state_dict()}
    return tuple(name for name, parts in named.items() if own.keys() >= set(parts))


def check(
    plan: "PretrainedModel", tensors: Tensors, family: Family, new_head: bool, is_named: bool
) -> list[str]:
    """Compare the file's tensors with the shapes of `plan`; return those missing of a `new_head`.

    `is_named`: the folder names the class of `plan`, so that a head in it is this one. Raises
    `UserError` naming the tensors that are missing, unexpected, of the wrong shape or no
    floating-point numbers.
    """
    targets = targets_in(plan, family)
    missing = [name for name in targets if name not in tensors]
    are_of_heads = all(name.startswith(family.head_prefixes) for name in missing)
    if missing and not (are_of_heads and new_head):
        new = "labels=[…]" if "labels" in plan.saved_settings else "new_head=True"
        hint = (
            f": it was not trained as a {plan.class_name}; take one that was (in Python, {new} "
            "gives it a new head, yet to be trained)"
        )
        raise UserError("missing tensors: " + listed(missing) + (hint if are_of_heads else ""))
    known = {*targets, family.prefix + "embeddings.position_ids"}
    unknown, modules = [n for n in tensors if n not in known], modules_in(plan, family)
    unexpected = [
        name
        for name in unknown
        if not name.startswith(family.head_prefixes)
        or (is_named and not is_of_another_head(name, modules, family))
    ]
    if unexpected:
        raise UserError("unexpected tensors: " + listed(sorted(unexpected)))
    found = {name: tensors[name] for name in targets if name in tensors}
    wrong = [
        f"{name} is {list(tensor.shape)}, expected {list(targets[name].shape)}"
        for name, tensor in found.items()
        if tensor.shape != targets[name].shape
    ]
    if wrong:
        raise UserError("tensors of another shape than config.json says: " + listed(wrong))
    odd = [f"{name} is {t.dtype}" for name, t in found.items() if not t.is_floating_point()]
    if odd:
        raise UserError("tensors that are no floating-point numbers: " + listed(odd))
    return missing


def copy_tensors(
    tensors: Tensors, model: "PretrainedModel", family: Family, missing: Sequence[str]
) -> tuple[str, ...]:
    """Copy the file's tensors into `model`; draw those that are `missing`, and return their names.

    Raises `UserError` naming the tensors that hold NaN or an infinite number, which make every
    output NaN or constant.
    """
    targets = {
        name: family.split(name, tensor, model.class_name)
        for name, tensor in headed(model).state_dict().items()
    }
    new = tuple(n for n, parts in targets.items() if any(part in missing for part in parts))
    initialise(headed(model), model.config, only=new)
    broken = []
    for parts in targets.values():
        for name, target in parts.items():
            if name in tensors:
                target.copy_(tensors[name])
                # A sum keeps NaN and infinity, and costs a twentieth of looking at each number.
                if not target.sum().isfinite() and not target.isfinite().all():
                    broken.append(name)
    if broken:
        raise UserError(
            "tensors that hold NaN or infinite numbers: " + listed(broken) + ": training diverged, "
            "or the file is damaged; take another copy, or an earlier checkpoint"
        )
    return new
