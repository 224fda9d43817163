"""One run of fine-tuning: a pretrained folder and labelled examples → a fine-tuned folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from plainformer.base import UserError, nan_to_null, write_json
from plainformer.base.figures import save_png
from plainformer.base.say import say
from plainformer.corpora import is_set
from plainformer.encoder.init import initialise
from plainformer.encoder.int8 import refuse_int8
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights import is_adapter
from plainformer.finetune.augment import augmented
from plainformer.finetune.config import FinetuneConfig
from plainformer.finetune.data.examples import few_of_each, read_examples
from plainformer.finetune.data.fingerprint import (
    Fingerprints,
    fingerprints,
    refuse_changes,
    with_copies,
)
from plainformer.finetune.data.leakage import NAMED, Overlap
from plainformer.finetune.data.split import hold_out
from plainformer.finetune.distillation import check_teachers
from plainformer.finetune.fair.groups import (
    group_scores,
    group_tables,
    held_out_groups,
    with_groups,
)
from plainformer.finetune.few_labels import train_with_unlabelled
from plainformer.finetune.few_labels.contrastive import pairs_of, similarity_task, with_classifier
from plainformer.finetune.fit import Watch, fit, tune_and_score
from plainformer.finetune.length import with_length
from plainformer.finetune.losses.class_imbalance import oversample
from plainformer.finetune.metrics import Metric
from plainformer.finetune.outcome import Outcome
from plainformer.finetune.prediction.predictor import encode_all
from plainformer.finetune.report.figures import figures
from plainformer.finetune.robust import reinit_layers
from plainformer.finetune.task import AnyTask
from plainformer.finetune.task_file import save_task
from plainformer.finetune.task_options import balance_of, contrastive_of, per_label_of
from plainformer.finetune.tuning import save_adapter
from plainformer.tokenizer import Tokenizer
from plainformer.training import (
    full_disk,
    is_main,
    main_first,
    refuse_missing_trackers,
    run_folder,
    saved_options,
    training_device,
)

RESUMED_MAY_DIFFER = {"out", "resume", "training"}  # the checkpoint checks those of training
SUMMARY = "summary.json"


def run_once(config: FinetuneConfig, quiet: bool = False, watch: Watch | None = None) -> Outcome:
    """Fine-tune once, with the seed of `config`; see `finetune` for the folder and the errors.

    `watch` is called after each evaluation.
    """
    refuse_model_folder(config)
    check_teachers(config)
    config = with_length(config)
    with run_folder(config.out, "finetune"):
        with main_first():
            data = new_data(config)
        task, examples, held_out = read_task(config, quiet)
        return finetune_on(task, examples, held_out, config, data, quiet, watch)


def read_task(config: FinetuneConfig, quiet: bool) -> tuple[AnyTask, list[Any], list[Any]]:
    """Read the training and the validation examples, and define the task by them."""
    examples, held_out = split_examples(config, quiet)
    say(config.kind.remarks(config, examples), quiet)
    # Without `valid`, labels that only held-out examples have are learned, too.
    known = examples if config.valid else [*examples, *held_out]
    return replace(config.kind.fit(config, known), columns=config.columns), examples, held_out


def new_data(config: FinetuneConfig, found: Fingerprints | None = None) -> Fingerprints | None:
    """Return the fingerprints of the examples to save for a new run; None for a resumed one.

    Raises:
        UserError: `config.out` holds a run that is not resumed, or one with other examples.
    """
    is_new = is_new_run(config)
    found = fingerprints(config) if found is None else found
    if not is_new:
        refuse_changes(found, config.out, config)
    return found if is_new else None


def is_new_run(config: FinetuneConfig) -> bool:
    """Tell whether a run starts in `config.out`; raise `UserError` if it holds another one."""
    if (config.out / SUMMARY).exists():
        raise UserError(f"{config.out} holds several runs: choose another folder for this one")
    saved = saved_options(config, config.out, resume=config.resume, may_differ=RESUMED_MAY_DIFFER)
    training_device(config.training)
    refuse_missing_trackers(config.training.track)
    return saved is None


def refuse_model_folder(config: FinetuneConfig) -> None:
    """Raise `UserError` where the run would write into the folder of the pretrained model.

    Nor can it start from an adapter.
    """
    if config.out.resolve() == config.model.resolve():
        raise UserError(f"{config.out} is the pretrained model: choose another folder for the run")
    if is_adapter(config.model):
        raise UserError(
            f"{config.model} is an adapter: plainformer convert {config.model} --out DIR merges it "
            "into its base model, from which a run can start"
        )


def split_examples(config: FinetuneConfig, quiet: bool) -> tuple[list[Any], list[Any]]:
    """Return the training and the validation examples; without the latter, hold some out."""
    kind = config.kind
    valid = config.valid or (config.train if is_set(config.train) else None)
    examples = all_examples(config)
    if valid is None:
        count, file = len(examples), Path(config.train).name
        examples, held_out = hold_out(examples, config.valid_share)
        verb = "is" if len(held_out) == 1 else "are"
        held = f"{len(held_out):,} of the {count:,} examples of {file} {verb} held out, stratified"
        say([f"no --valid: {held}"], quiet)
    else:
        if config.valid is None:
            say([f"no --valid: the validation part of {valid} is used"], quiet)
        held_out = list(read_examples(kind, valid, "valid", kind.naming(config.columns)))
    return few_per_label(config, examples), held_out


def training_examples(config: FinetuneConfig) -> list[Any]:
    """Return the training examples without holding any out."""
    return few_per_label(config, all_examples(config))


def all_examples(config: FinetuneConfig) -> list[Any]:
    """Read the examples of the training file or set."""
    kind = config.kind
    return list(read_examples(kind, config.train, "train", kind.naming(config.columns)))


def few_per_label(config: FinetuneConfig, examples: list[Any]) -> list[Any]:
    """Draw `per_label` examples of each label, or return all."""
    count = per_label_of(config.task)
    return few_of_each(examples, count, config.training.seed) if count else examples


def finetune_on(
    task: AnyTask,
    examples: list[Any],
    held_out: list[Any],
    config: FinetuneConfig,
    new: Fingerprints | None,
    quiet: bool,
    watch: Watch | None = None,
) -> Outcome:
    """Train on `examples`, select and evaluate on `held_out`, and save the result in `config.out`.

    Without `held_out` the final weights are kept and nothing is evaluated. `new` are the
    fingerprints that a new run saves; None for a resumed run. `watch` is called after each
    evaluation, but not of training in stages.
    """
    if config.unlabelled.unlabelled is not None:
        return train_with_unlabelled(train_in_folder, task, examples, held_out, config, new, quiet)
    tokenizer = task.tokenizer(config.model)
    items = [item for _, item in encode_all(task, tokenizer, examples)]
    num_cut = sum(item.is_cut for item in items)
    copies = augmented(examples, config, quiet)
    items += [item for _, item in encode_all(task, tokenizer, copies)]
    items = with_groups(task, items, [*examples, *copies], config)
    groups_held_out = held_out_groups(config) if held_out else {}
    new = with_copies(new, copies, config.out)
    held_out_items = list(encode_all(task, tokenizer, held_out))
    similarity = similarity_task(task, config) if contrastive_of(config.task) else None
    model = build(similarity or task, config)
    tokenizer.check_vocabulary(model.config.vocab_size)
    overlap = Overlap(lambda: examples)
    warnings = report_leakage(overlap, held_out, quiet) if held_out else ()

    sampled = items
    if balance_of(config.task) == "sampling":
        sampled = [items[index] for index in oversample([e.category for e in [*examples, *copies]])]
    if similarity is None:
        result = fit(task, model, sampled, held_out_items, config, new, quiet, watch)
    else:
        pairs = pairs_of(items, contrastive_of(config.task), config.training.seed)
        result = fit(similarity, model, pairs, [], config, new, quiet)
        model = with_classifier(model, similarity, items, task)
    task, metric = tune_and_score(task, model, held_out_items, config.select)
    groups = group_scores(task, model, held_out_items, groups_held_out)
    never = never_predicted(metric, config)
    say((f"warning: {warning}" for warning in never), quiet)
    if is_main():
        with full_disk(config.out):
            base = config.model if config.tuning.is_on else None
            write_folder(config.out, task, model, tokenizer, base)
            if held_out:
                found = {"valid": metric.to_json(), **({"groups": groups} if groups else {})}
                write_json(config.out / "metrics.json", nan_to_null(found))
                for name, figure in figures(metric).items():
                    save_png(figure, config.out / f"{name}.png")
    warnings = (*warnings, *never)
    return Outcome(result, metric, num_cut, task.max_length, warnings, group_tables(groups))


def train_in_folder(
    task: AnyTask,
    examples: list[Any],
    held_out: list[Any],
    config: FinetuneConfig,
    found: Fingerprints,
    quiet: bool,
) -> Outcome:
    """Train as `finetune_on`, in a folder within that of the run whose fingerprints are `found`."""
    with run_folder(config.out, "finetune"):
        with main_first():
            data = new_data(config, found)
        return finetune_on(task, examples, held_out, config, data, quiet)


def report_leakage(overlap: Overlap[Any], held_out: list[Any], quiet: bool) -> tuple[str, ...]:
    """Print and return warnings of texts that training and validation examples share."""
    for example in held_out:
        overlap.add(example)
    warnings = overlap.warnings()
    say((f"warning: {warning}" for warning in warnings), quiet)
    return warnings


def never_predicted(metric: Metric, config: FinetuneConfig) -> tuple[str, ...]:
    """Describe the labels that occur in the validation examples and are never predicted."""
    labels = metric.never_predicted()
    if not labels:
        return ()
    named = ", ".join(map(repr, labels[:NAMED])) + (", …" if len(labels) > NAMED else "")
    can_balance = balance_of(config.task) == "none" and not contrastive_of(config.task)
    hint = "; where they are rare, see --balance" if can_balance else ""
    return (f"never predicted on the validation examples: {named}{hint}",)


def build(task: AnyTask, config: FinetuneConfig) -> PretrainedModel:
    """Load the pretrained model with a new head, or initialise all of its weights; tune it.

    Tuning freezes weights and adds parameters, as `config.tuning` says.
    """
    torch.manual_seed(config.training.seed)
    model = task.build(config)
    refuse_int8(model)
    place = f"the model in {config.model}"
    model.config.check_max_length(task.max_length, place, config.tuning.soft_prompt)
    if config.from_scratch:
        initialise(model, model.config)
    if config.from_scratch or model.newly_initialised:
        task.start(model)
    if config.robust.reinit_layers:
        reinit_layers(model, config.robust.reinit_layers)
    config.tuning.apply(model)
    return model


def write_folder(
    folder: Path,
    task: AnyTask,
    model: PretrainedModel,
    tokenizer: Tokenizer,
    base: str | Path | None = None,
) -> None:
    """Write the model, its tokenizer and the task to `folder`; of a tuned `base`, what is added."""
    if base is None:
        model.save_pretrained(folder)
    else:
        save_adapter(model, folder, base)
    tokenizer.with_max_length(task.max_length).save(folder)
    save_task(task, folder)
