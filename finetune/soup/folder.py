"""Make a soup of the runs in folders, where that is allowed, and write it as a folder."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from plainformer.base import Fields, UserError, nan_to_null, read_json, replaced_folder, write_json
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights import is_adapter
from plainformer.finetune.data.examples import read_examples
from plainformer.finetune.ensemble import Finetuned, Folders, folders_of
from plainformer.finetune.prediction.predictor import encode_all, measure
from plainformer.finetune.run import write_folder
from plainformer.finetune.soup.mix import Measure, Soup, greedy, uniform
from plainformer.finetune.tuning import merge_added
from plainformer.training import choose_device


def soup(runs: Folders, out: Path, data: str | None = None, columns: Sequence[str] = ()) -> Soup:
    """Write the mean of the weights of all runs or, with `data`, of those that help, to `out`.

    `data` are labelled examples: a file, or a named set, whose validation part is used. `columns`
    maps fields to columns of the file, by default as in training. Adapters are merged into their
    base models first. Raises `UserError` for fewer than two runs, and for runs of different tasks,
    labels, architectures or pretrained models.
    """
    members = load_members(folders_of(runs))
    with replaced_folder(out, "soup") as folder:
        mixed = uniform(members) if data is None else greedy(members, on(data, members[0], columns))
        model = mixed.model
        write_folder(folder, model.task, model.model, model.tokenizer)
        if mixed.metric is not None:
            write_json(folder / "metrics.json", nan_to_null({"valid": mixed.metric.to_json()}))
    return mixed


def load_members(folders: Sequence[Path]) -> list[Finetuned]:
    """Load runs whose weights can be averaged, with their labels in one order, uncalibrated."""
    if len(folders) < 2:
        raise UserError("a soup needs at least two runs")
    first, *others = map(Finetuned.load, folders)
    members = [first, *(other.like(first) for other in others)]
    members = [replace(member, task=member.task.at(1.0)) for member in members]
    for member in members:
        if is_adapter(member.folder):
            merge_added(member.model)
        refuse_other_origin(member, first)
    return members


def refuse_other_origin(member: Finetuned, first: Finetuned) -> None:
    """Raise `UserError` for another architecture, or another pretrained model where it is known."""
    advice = "average their predictions: plainformer predict RUN RUN …"
    if architecture(member.model) != architecture(first.model):
        raise UserError(
            f"{member.folder} and {first.folder} differ in architecture: weights cannot be "
            f"averaged; {advice}"
        )
    origin, its = pretrained_model(member.folder), pretrained_model(first.folder)
    if origin and its and origin != its:
        raise UserError(
            f"{member.folder} began from {origin}, and {first.folder} from {its}: weights of "
            f"different origin cannot be averaged; {advice}"
        )


def architecture(model: PretrainedModel) -> tuple[Any, ...]:
    """Return what two models have to share for their weights to mean the same."""
    settings = [getattr(model.saved, name) for name in model.saved.saved_settings]
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    return model.config.with_dropout(0.0), settings, shapes


def pretrained_model(folder: Path) -> str | None:
    """Return the pretrained model that the options of a run name; None where they are missing."""
    path = folder / "options.json"
    return Fields(read_json(path), path).text("model", None) if path.is_file() else None


def on(data: str, first: Finetuned, columns: Sequence[str]) -> Measure:
    """Return the measure of models on the labelled examples of `data`."""
    task, device = first.task, choose_device("auto")
    examples = read_examples(type(task), data, "valid", task.naming(columns, task.columns))
    pairs = list(encode_all(task, first.tokenizer, examples))
    return lambda member: measure(member.task, member.model.to(device), pairs)
