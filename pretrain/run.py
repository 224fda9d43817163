"""The first stage from end to end: text → token shards → batches → a model folder."""

import copy
from dataclasses import replace
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from plainformer.base import UserError, write_json
from plainformer.encoder import EncoderConfig
from plainformer.pretrain import choice
from plainformer.pretrain.config import PretrainConfig
from plainformer.pretrain.continue_pretraining import measured_before, start
from plainformer.pretrain.data import MaskedBatches
from plainformer.pretrain.datasets import DATA, open_texts, refuse_changes
from plainformer.pretrain.held_out import measured_on
from plainformer.pretrain.measure import Measure, forgotten
from plainformer.pretrain.plan import Candidate, left_open, make_plan, sizes, taken_up
from plainformer.pretrain.plateau import PlateauWatch
from plainformer.tokenizer import Tokenizer, load_tokenizer
from plainformer.training import (
    Result,
    choose_device,
    full_disk,
    is_main,
    local_indices,
    processes,
    run_folder,
    save_options,
    saved_options,
    train,
)

MAY_DIFFER = {"out", "tokenizer", "workers", "resume", "training"}
"""options of which a resumed run may have others; its shards know their tokenizer"""


def pretrain(config: PretrainConfig, quiet: bool = False) -> Result:
    """Run `config`: see `run`; on all the processes that torchrun has started, or on this one."""
    with processes():
        if "accumulate" not in left_open(config):
            local_indices(config.accumulate)
        with run_folder(config.out, "pretrain"):
            return run(config, quiet or not is_main())


def run(config: PretrainConfig, quiet: bool) -> Result:
    """Run `config`, and leave in `config.out` a model folder that `transformers` opens too.

    The model has the weights of the lowest held-out loss: with a rate that decays those are the
    last, as a rule. Beside it and its tokenizer: `options.json` (the run's settings),
    `held_out.json` (what it is measured on), `metrics.json` (held-out loss in nats, accuracy,
    perplexity; of a run that goes on from a model also those before, and what was learned and
    forgotten), `log.jsonl`, `speed.jsonl`, `curve.png`, `tokens/` (the shards) and `checkpoints/`.

    Raises `UserError` for whatever cannot be read, does not fit together, or cannot be written.
    """
    may_differ = MAY_DIFFER | left_open(config)
    saved = saved_options(config, config.out, resume=config.resume, may_differ=may_differ)
    choose_device(config.training.device)
    if config.budget and saved and not saved["budget"]:
        config = taken_up(config, saved)
    started = None if config.model is None else start(config, saved is not None, quiet)
    if started is None:
        tokenizer = load_tokenizer(config.tokenizer or "")
        model = build(config, tokenizer)
    else:
        tokenizer, model = started.tokenizer, started.model
        say(started.said(config), quiet)
    loss = choice.loss(config, tokenizer)
    texts = open_texts(config, tokenizer, quiet)
    if saved is not None:
        refuse_changes(texts, config.out)
    measure = Measure.of(config, tokenizer, texts.held_out, bool(started and started.words))
    before = measured_before(config, started, texts.held_out, measure) if started else None

    def batches(config: PretrainConfig) -> MaskedBatches:
        hide, seed = choice.hide(config, tokenizer), config.training.seed
        return MaskedBatches(
            texts.train, hide, config.batch_tokens, config.accumulate, seed, texts.replay
        )

    is_new = saved is None or bool(config.budget)
    if config.budget:

        def candidate(config: PretrainConfig) -> Candidate:
            trial = build(config, tokenizer) if started is None else copy.deepcopy(model)
            return Candidate(config, trial, loss, batches(config))

        plan = make_plan(config, texts.new_tokens, candidate, lambda line: say(line, quiet))
        say(plan.table(), quiet)
        config = plan.settle(config)
        model = build(config, tokenizer) if started is None else model
    if is_main():
        with full_disk(config.out):
            if is_new:
                write_json(config.out / DATA, texts.fingerprints)
                tokenizer.save(config.out)
                save_options(replace(config, resume=False), config.out)
            described = measured_on(config, tokenizer, measure.held_out[""])
            write_json(config.out / "held_out.json", described)
    plateau = PlateauWatch(texts.entropy)
    of_token = choice.token_loss(config)

    def watched(model: Any) -> dict[str, float]:
        metrics = measure(model)
        if of_token is not None:
            plateau.see(metrics[of_token])
        return metrics

    result = train(
        model,
        loss,
        batches(config),
        config.training,
        config.out,
        evaluate=watched,
        before=before,
        monitor="loss",
        flops=choice.flops(model, loss),
        resume=config.resume,
        label="pretraining",
        loss_label=choice.loss_label(config),
        quiet=quiet,
    )
    if of_token is not None:
        plateau.see(result.last[of_token], is_last=True)
    metrics: dict[str, Any] = {"held_out": dict(result.final)}
    if before is not None:
        change, said = forgotten(config, before, result.final)
        metrics |= {"before": before, **change}
        say(said, quiet)
    if not is_main():
        return result
    with full_disk(config.out):
        choice.save(model, tokenizer, config.out)
        write_json(config.out / "metrics.json", metrics)
    return result


def say(lines: str | Table, quiet: bool) -> None:
    """Tell a person something about the run."""
    Console(stderr=True, quiet=quiet, highlight=False).print(lines, markup=False, soft_wrap=True)


def build(config: PretrainConfig, tokenizer: Tokenizer) -> Any:
    """A fresh model of the preset's shape for this vocabulary, drawn from the run's seed.

    Where a budget is still to choose the size, the smallest one.
    """
    preset = sizes(config)[0] if config.budget else config.preset
    assert preset is not None
    shape = EncoderConfig.preset(
        preset, vocab_size=tokenizer.vocab_size, pad_token_id=tokenizer.pad_id
    )
    if config.max_length > shape.max_position_embeddings:
        raise UserError(
            f"max_length {config.max_length} is more than the {shape.max_position_embeddings} "
            f"positions of {preset}"
        )
    torch.manual_seed(config.training.seed)
    return choice.build_model(config, shape)
