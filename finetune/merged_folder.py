"""Merge an adapter into its base model, and write the whole model as a folder of its own."""

from pathlib import Path

from plainformer.base import replaced_folder
from plainformer.encoder import Encoder, MaskedLM
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights import Adapter, tokenizer_folder
from plainformer.finetune.task import AnyTask
from plainformer.finetune.task_file import load_task, save_task
from plainformer.finetune.tuning import add_tensors, merge_added
from plainformer.tokenizer import load_tokenizer


def merge_folder(folder: Path, out: Path) -> int:
    """Write the model of the adapter in `folder`, merged, to `out`, with tokenizer and task.

    Returns the number of tensors. Raises `UserError` for an adapter that cannot be loaded or
    merged, and where `out` holds anything but an earlier conversion.
    """
    model, task = load_tuned(folder)
    merge_added(model)
    tokenizer = load_tokenizer(tokenizer_folder(folder))
    with replaced_folder(out, "convert") as unfinished:
        model.save_pretrained(unfinished)
        tokenizer.save(unfinished)
        if task is not None:
            save_task(task, unfinished)
    return len(model.saved.state_dict())


def load_tuned(folder: Path) -> tuple[PretrainedModel, AnyTask | None]:
    """Load the tuned model of an adapter; with its task, unless it has none to be used for."""
    named = Adapter.of(folder).class_name
    if (folder / "task.json").exists() or named not in ("Encoder", "MaskedLM"):
        task = load_task(folder)
        return task.load(folder), task
    kind = MaskedLM if named == "MaskedLM" else Encoder
    return kind.from_pretrained(folder, add=add_tensors), None
