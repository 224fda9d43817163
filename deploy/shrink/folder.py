"""Make the model of a run smaller, measure it beside the run, and keep it if it is good enough.

run → vocabulary → layers → heads → units → zeros → training → 16 or 8 bits → folder
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from plainformer.base import UserError, find_folder, replaced_folder
from plainformer.deploy.card import Data, Facts, Result, write_card
from plainformer.deploy.card.front_matter import metric_name
from plainformer.deploy.card.stage import public
from plainformer.deploy.measured import Measured, measure_both, refuse_loss
from plainformer.deploy.opened import Opened
from plainformer.deploy.shrink.options import ShrinkOptions
from plainformer.deploy.shrink.prune import (
    prune_heads,
    prune_layers,
    prune_units,
    prune_weights,
    refuse_heads,
)
from plainformer.deploy.shrink.train import train_pruned
from plainformer.deploy.shrink.vocabulary import trim_vocabulary
from plainformer.encoder.int8 import is_int8, quantize_int8
from plainformer.encoder.int8_static import quantize_static
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights import is_adapter
from plainformer.encoder.weights.save import save
from plainformer.encoder.weights.storage import Storage
from plainformer.finetune.data.batch import Batch, Item, by_length
from plainformer.finetune.data.examples import read_examples
from plainformer.finetune.importance import Importance, by_gradient, by_magnitude
from plainformer.finetune.prediction.predictor import Predictor, encode_all
from plainformer.finetune.task import AnyTask
from plainformer.finetune.task_file import save_task
from plainformer.training import choose_device
from plainformer.unparse import words_of

SCORED_ITEMS = 1024
"""Examples at most by which parts are scored, evenly spread over those of `train`."""
TEXTS = 512
"""Examples at most on which ranges of activations are found, evenly spread."""


def shrink(
    run: str | Path,
    data: str,
    out: Path,
    options: ShrinkOptions,
    columns: Sequence[str] = (),
    report: Callable[[Sequence[Measured]], None] = lambda results: None,
    quiet: bool = False,
) -> list[Measured]:
    """Write a smaller model of `run` to `out`; return the measures of both on `data`.

    `columns` maps fields to columns of the files, by default as in training. `report` is called
    with the measures before the result is judged. Raises `UserError` for a run that cannot be made
    smaller so, and where its first score falls by more than the tolerance: then nothing is written.
    """
    if not options.is_on:
        raise UserError(
            "there is nothing to do: say --vocabulary, --layers, --heads, --units, --zeros, "
            "--weights or --int8"
        )
    given, run = run, find_folder(run)
    opened, task = open_run(run, options)
    if options.vocabulary:
        opened = trim_vocabulary(opened, task, options.vocabulary, columns)
    items = encoded(opened, task, options.train, "train", columns) if options.train else []
    with replaced_folder(out, "shrink") as folder:
        remove_parts(opened, task, items, options)
        if items and options.epochs and options.removes:
            with tempfile.TemporaryDirectory() as log:
                train_pruned(opened.model, task, items, options, Path(log), quiet)
        if options.int8 == "static":
            texts = items or encoded(opened, task, data, "test", columns)
            quantise_on(opened.model, texts[:: -(-len(texts) // TEXTS) or 1])
        write_model(opened, task, options, folder)
        both = run, folder
        results = measure_both([Predictor.load(each) for each in both], both, data, columns)
        report(results)
        remedy = "--train F trains what is left; remove less, or "
        refuse_loss(results, options.tolerance, remedy)
        write_card(folder, facts_of(folder, given, data, options, columns, results), before=out)
    return results


def open_run(run: Path, options: ShrinkOptions) -> tuple[Opened, AnyTask]:
    """Open a run; raise `UserError` for one that cannot be made smaller as the options say."""
    if is_adapter(run):
        raise UserError(f"{run} is an adapter: merge it first: plainformer convert {run} --out …")
    opened = Opened.of(run)
    if opened.task is None:
        raise UserError(f"{run} was not fine-tuned for a task: there is nothing to measure it by")
    if is_int8(opened.model):
        raise UserError(f"{run} is in int8 already: shrink the run of which it was made")
    config = opened.model.config
    if options.layers and config.share_layers:
        raise UserError("all layers of this model are the same one: there is none to remove")
    if options.layers > config.num_hidden_layers:
        raise UserError(f"{run} has {config.num_hidden_layers} layers: {options.layers} is more")
    if options.heads:
        refuse_heads(opened.model)
    return opened, opened.task.at(1.0)  # a smaller model is calibrated anew


def encoded(
    opened: Opened, task: AnyTask, source: str, split: str, columns: Sequence[str]
) -> list[Item]:
    """Read and encode labelled examples: of a file, or of this split of a named set."""
    naming = task.naming(columns, task.columns)
    examples = read_examples(type(task), source, split, naming)
    return [item for _, item in encode_all(task, opened.tokenizer, examples)]


def remove_parts(
    opened: Opened, task: AnyTask, items: Sequence[Item], options: ShrinkOptions
) -> None:
    """Prune layers, heads, units and weights, as far as the options say; each is scored anew."""
    model = opened.model.to(choose_device("auto"))

    def importance() -> Importance:
        if items and options.importance != "magnitude":
            return by_gradient(task, model, items[:: -(-len(items) // SCORED_ITEMS)])
        return by_magnitude(model)

    if options.layers:
        prune_layers(model, importance().layers, options.layers)
    if options.heads:
        prune_heads(model, importance().heads, options.heads)
    if options.units:
        prune_units(model, importance().units, options.units)
    if options.zeros:
        prune_weights(model, options.zeros)


def quantise_on(model: PretrainedModel, items: Sequence[Item]) -> None:
    """Quantise a model to int8, with ranges of activations found on some texts."""
    batches = [Batch.of([item for _, item in some]) for some in by_length(items)]
    quantize_static(model, [batch.to(model.device).encoder_inputs for batch in batches])


def write_model(opened: Opened, task: AnyTask, options: ShrinkOptions, folder: Path) -> None:
    """Write the model in the chosen number formats, with tokenizer and task."""
    model = quantize_int8(opened.model) if options.int8 == "dynamic" else opened.model
    weights = None if options.weights == "keep" else options.weights
    model.save_files(folder)
    save(model.saved, folder, Storage(weights, int8=options.int8 == "weights"))
    opened.tokenizer.with_max_length(task.max_length).save(folder)
    save_task(task, folder)


def facts_of(
    folder: Path,
    run: str | Path,
    data: str,
    options: ShrinkOptions,
    columns: Sequence[str],
    results: Sequence[Measured],
) -> Facts:
    """Collect what the card of the smaller model says."""
    before, after = results
    source = Data.of(data)
    measured = Result(source, "test part" if source.known else "", after.examples, after.scores)
    given = words_of(ShrinkOptions, asdict(options), public)
    named = ["--columns", *columns] if columns else []
    words = ["shrink", "RUN", "--data", source.name, *named, *given, "--out", "DIR"]
    name, score = next(iter(before.scores.items()))
    note = (
        f"`plainformer shrink` made it smaller: from {before.megabytes:,.1f} to "
        f"{after.megabytes:,.1f} MB, from {before.speed:,.0f} to {after.speed:,.0f} examples a "
        f"second on the same machine, and in {metric_name(name)} from {score:.4f} to "
        f"{after.scores[name]:.4f} on the same examples."
    )
    return Facts.of_made(folder, run, "made smaller", words, [measured], note)
