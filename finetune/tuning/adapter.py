"""Save what tuning added to a model, with the head, as an adapter that `peft` reads; and read it.

    save_adapter(model, folder, base="minilm")
    model = SequenceClassifier.from_pretrained(folder, add=add_tensors)

The files are those of `encoder.weights.adapter`. The base model is named and its weights are
fingerprinted, but not copied. `LAYOUTS` has a `Layout` for each method.
"""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from plainformer.base import UserError, atomic_path, find_folder, write_json
from plainformer.base.tensors import save_tensors
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights import Adapter, is_adapter, read_tensors
from plainformer.encoder.weights.adapter import (
    CONFIG,
    FORMAT,
    OWN,
    PREFIX,
    TASK_TYPES,
    TENSORS,
    fingerprint,
)
from plainformer.encoder.weights.added import added_layers, split_state
from plainformer.encoder.weights.family import Tensors, headed, listed
from plainformer.encoder.weights.save import family_that_writes, hf_config
from plainformer.encoder.weights.sentence import read_layout
from plainformer.finetune.tuning.layers import freeze_base
from plainformer.finetune.tuning.layout import Layout, own_tensors
from plainformer.finetune.tuning.own_layout import BOTTLENECK, PREFIX_TUNING, SOFT_PROMPT
from plainformer.finetune.tuning.peft_adalora import ADALORA
from plainformer.finetune.tuning.peft_ia3 import IA3
from plainformer.finetune.tuning.peft_lora import LORA

LAYOUTS: tuple[Layout, ...] = (ADALORA, LORA, IA3, BOTTLENECK, PREFIX_TUNING, SOFT_PROMPT)


def save_adapter(model: PretrainedModel, folder: str | Path, base: str | Path) -> None:
    """Write the added parameters of `model`, and its head, to `folder`; `base` is its base model.

    Raises `UserError` where the folder cannot be written, nothing was added, or `base` is itself an
    adapter.
    """
    folder, place = Path(folder), base_folder(base)
    model.save_files(folder)
    saved = model.saved
    layout = next((layout for layout in LAYOUTS if layout.holds(saved)), None)
    if layout is None:
        raise UserError("the model has no added parameters to save")
    family = family_that_writes(saved)
    fields, tensors = layout.write(saved)
    own = own_tensors(saved, set(split_state(headed(saved))[0]))
    heads = {module_to_save(name, family.prefix) for name in own}
    # A bare encoder is one without the prefix that it has in a model with a head.
    prefix = family.prefix if saved.base is saved else ""
    config = {
        "peft_type": layout.peft_type,
        "task_type": TASK_TYPES.get(saved.class_name),
        "base_model_name_or_path": str(place),
        "inference_mode": True,
        "modules_to_save": without(prefix, sorted(heads)) or None,
        "revision": None,
        **{field: without(prefix, value) for field, value in fields.items()},
    }
    parts = {name: list(getattr(m, "parts", ())) for name, m in saved.base.named_modules()}
    ours = {
        "format": FORMAT,
        "base": {
            "name": str(base),
            "fingerprint": fingerprint(read_tensors(place), family.head_prefixes),
        },
        "config": hf_config(saved),
        "parts": {name: parts[name] for name in added_layers(saved.base) if parts[name]},
    }
    written = {
        PREFIX + name.removeprefix(prefix): tensor.contiguous()
        for name, tensor in (tensors | own).items()
    }
    try:
        with (
            atomic_path(folder / CONFIG) as settings,
            atomic_path(folder / OWN) as description,
            atomic_path(folder / TENSORS) as weights,
        ):
            write_json(settings, config)
            write_json(description, ours)
            save_tensors(written, weights, metadata={"format": "pt"})
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write the adapter to {folder}: {error}") from None


def without(prefix: str, value: Any) -> Any:
    """Remove a prefix from the names in a list, and from those that are keys."""
    if isinstance(value, dict):
        return {name.removeprefix(prefix): content for name, content in value.items()}
    return [name.removeprefix(prefix) for name in value] if isinstance(value, list) else value


def base_folder(base: str | Path) -> Path:
    """Return the absolute path of the folder with the weights of a base model.

    Raises `UserError` where there is none, or it is an adapter.
    """
    folder = find_folder(base)
    if is_adapter(folder):
        raise UserError(
            f"{folder} is an adapter, to which no other can be added: plainformer convert {folder} "
            "--out DIR merges it into its model first"
        )
    layout = read_layout(folder)
    return (folder / layout.encoder if layout else folder).resolve()


def module_to_save(name: str, prefix: str) -> str:
    """Return the module for `modules_to_save` that the tensor `name` is in: the outermost one."""
    inner = name.removeprefix(prefix) if name.startswith(prefix) else name
    return name[: len(name) - len(inner)] + inner.partition(".")[0]


def add_tensors(model: PretrainedModel, adapter: Adapter, tensors: Tensors) -> None:
    """Add the tensors of an adapter to its base model, and freeze all but them and the head.

    Raises `UserError` for a method that is not known, or tensors that it does not have.
    """
    kind = adapter.settings.text("peft_type")
    layout = next((layout for layout in LAYOUTS if layout.peft_type == kind), None)
    if layout is None:
        known = ", ".join(layout.peft_type for layout in LAYOUTS)
        raise UserError(f"{CONFIG}: peft_type {kind!r:.60} is not supported; supported: {known}")
    unknown = sorted(tensors.keys() - layout.read(model, adapter, tensors))
    if unknown:
        raise UserError(f"{TENSORS}: unexpected tensors: {listed(unknown)}")
    if not tensors:
        raise UserError(f"{TENSORS}: no tensors of {kind}")
    freeze_base(model)
