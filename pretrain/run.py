"""Pretrain from end to end: text → token shards → batches → a model folder."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table

from plainformer.base import write_json
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.pretrain.batch import MaskedBatch
from plainformer.pretrain.config import PretrainConfig
from plainformer.pretrain.continue_pretraining import continued_start, describe, evaluate_before
from plainformer.pretrain.datasets import DATA, Texts, open_texts, refuse_changes
from plainformer.pretrain.evaluation import Evaluation, forgotten
from plainformer.pretrain.objectives import PretrainingObjective, choose_objective
from plainformer.pretrain.plan import Candidate, left_open, make_plan, resume_plan
from plainformer.pretrain.plateau import PlateauWatch
from plainformer.pretrain.start import Start, build_model, new_start
from plainformer.training import (
    PLAN,
    Objective,
    Result,
    full_disk,
    has_checkpoint,
    is_main,
    local_indices,
    processes,
    refuse_missing_trackers,
    run_folder,
    save_options,
    saved_options,
    train,
    training_device,
)

MAY_DIFFER = {"out", "tokenizer", "workers", "resume", "training"}
"""Options that a resumed run may change; the shards name their tokenizer."""


def pretrain(config: PretrainConfig, quiet: bool = False) -> Result:
    """Pretrain as `config` says, on all processes that torchrun has started; see `run`."""
    config = config.with_defaults()
    with processes():
        if "accumulate" not in left_open(config):
            local_indices(config.accumulate)  # raises UserError if the processes cannot share it
        with run_folder(config.out, "pretrain"):
            return run(config, quiet or not is_main())


def run(config: PretrainConfig, quiet: bool) -> Result:
    """Pretrain, and leave in `config.out` a model folder that `transformers` opens too.

    The model has the weights of the lowest held-out loss: with a rate that decays those are the
    last, as a rule. Beside it and its tokenizer: `options.json` (the run's settings),
    `held_out.json` (fingerprints of the held-out text), `metrics.json` (held-out loss in nats,
    accuracy, perplexity; when continuing from a model also those before, and what was learned and
    forgotten), `log.jsonl`, `speed.jsonl`, `curve.png`, `tokens/` (the shards) and `checkpoints/`.

    Raises `UserError` for whatever cannot be read, does not fit together, or cannot be written.
    """
    may_differ = MAY_DIFFER | left_open(config)
    saved = saved_options(config, config.out, resume=config.resume, may_differ=may_differ)
    training_device(config.training)
    refuse_missing_trackers(config.training.track)
    budget = config.budget
    if budget and saved and not saved["budget"]:
        config = resume_plan(config, saved)

    objective = choose_objective(config.objective)
    if config.model is None:
        start = new_start(config, objective)
    else:
        start = continued_start(config, objective, saved is not None, quiet)
        say(describe(start, config), quiet)
    model, tokenizer = start.model, start.tokenizer
    loss = objective.loss(config, tokenizer)
    texts = open_texts(config, objective, tokenizer, quiet)
    if saved is not None:
        refuse_changes(texts, config.out)
    evaluation = Evaluation.of(
        config, objective, tokenizer, texts.held_out, per_character=bool(start.new_words)
    )
    before = None
    if config.model is not None:
        before = evaluate_before(config, objective, start, texts.held_out, evaluation)

    is_new = saved is None or bool(config.budget) or not has_checkpoint(config.out)
    if config.budget:
        candidates = partial(candidate, objective, start, loss, texts, evaluation.tokens)
        plan = make_plan(config, texts.new_tokens, candidates, partial(say, quiet=quiet))
        say(plan.table(), quiet)
        config = plan.settle(config)
        model = model if config.model else build_model(config, objective, tokenizer)
    save_setup(config, start, texts, evaluation, is_new, budget)

    watch = PlateauWatch(texts.entropy, objective.token_metric)
    result = train(
        model,
        loss,
        texts.batches(config, objective, tokenizer),
        config.training,
        config.out,
        evaluate=partial(watched, evaluation, watch),
        before=before,
        monitor="loss",
        flops=partial(objective.flops, model, loss),
        resume=config.resume,
        label="pretraining",
        loss_label=objective.loss_label(config),
        quiet=quiet,
    )
    watch.see(result.last, is_last=True)
    metrics: dict[str, Any] = {"held_out": dict(result.final)}
    if before is not None:
        change, said = forgotten(objective, before, result.final)
        metrics |= {"before": before, **change}
        say(said, quiet)
    if is_main():
        with full_disk(config.out):
            objective.save(model, tokenizer, config.out)
            write_json(config.out / "metrics.json", metrics)
    return result


def candidate(
    objective: PretrainingObjective[Any],
    start: Start,
    loss: Objective[Any, MaskedBatch],
    texts: Texts,
    held_out: int,
    config: PretrainConfig,
) -> Candidate:
    """Make a model and batches of these options, to be timed and discarded."""
    is_new = config.model is None
    tokenizer = start.tokenizer
    model = build_model(config, objective, tokenizer) if is_new else copy.deepcopy(start.model)
    batches = texts.batches(config, objective, tokenizer)
    return Candidate(config, model, loss, batches, partial(objective.flops, model, loss), held_out)


def save_setup(
    config: PretrainConfig,
    start: Start,
    texts: Texts,
    evaluation: Evaluation,
    is_new: bool,
    budget: str | None,
) -> None:
    """Save all that a resumed run needs, and what the run is evaluated on."""
    if not is_main():
        return
    with full_disk(config.out):
        if is_new:
            write_json(config.out / DATA, texts.fingerprints)
            write_json(config.out / PLAN, {"budget": budget})
            start.tokenizer.save(config.out)
            save_options(replace(config, resume=False), config.out)
        fingerprint = evaluation.fingerprint(config, start.tokenizer)
        write_json(config.out / "held_out.json", fingerprint)


def watched(
    evaluation: Evaluation, watch: PlateauWatch, model: PretrainedModel
) -> Mapping[str, float]:
    """Evaluate, and warn of a plateau."""
    metrics = evaluation(model)
    watch.see(metrics)
    return metrics


def say(lines: str | Table, quiet: bool) -> None:
    """Print a message about the run."""
    Console(stderr=True, quiet=quiet, highlight=False).print(lines, markup=False, soft_wrap=True)
