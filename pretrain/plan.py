"""Plan a pretraining run from a budget: size, tokens, batch size, and duration.

A budget is a time on this machine (`30m`) or a number of floating-point operations (`1e17`).

- **Size.** The largest of the family whose layers get 20 tokens per weight, as in a
  compute-optimal language model (Hoffmann et al. 2022, arXiv:2203.15556). Only weights of the
  layers' matrices count, since embeddings take hardly any arithmetic. All tokens that are read
  count, predicted or not.
- **Tokens.** As many as the budget allows. For size and batch, at most four epochs of the corpus
  count: up to there repeated text is nearly as good as new text, and beyond some sixteen epochs
  nearly worthless (Muennighoff et al. 2023, arXiv:2305.16264).
- **Batch.** 0.29 · predicted^0.571 predicted tokens per step, rounded to a power of two: a causal
  model, for which the rule was fitted, predicts every token. The exponent is that of Li et al.
  2025, arXiv:2503.04715; with Muon half of their factor 0.58 has given better small models.
- **Time.** A few real steps of a candidate are timed, unless it is too slow even at the peak of the
  device (see `training.peak`) or does not fit into memory. A time budget covers planning, training
  and evaluation, but not preparing the corpus, which is done once.

A preset or batch that the user has chosen is kept. benchmarks/LOG.md has our measurements.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from rich.table import Table

from plainformer.base import UserError, read_json
from plainformer.encoder import PRESETS
from plainformer.encoder.flops import layer_weights
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.pretrain.batch import MaskedBatch
from plainformer.pretrain.budget import Budget
from plainformer.pretrain.config import DEFAULT_BATCH, PretrainConfig
from plainformer.pretrain.data import MaskedBatches
from plainformer.pretrain.objectives import choose_objective
from plainformer.training import (
    PLAN,
    Flops,
    Objective,
    all_reduce_sum,
    available_memory,
    broadcast_from_main,
    choose_device,
    least_memory,
    number_format,
    peak_flops,
    seconds_per_step,
    state_size,
    world_size,
)

TOKENS_PER_WEIGHT = 20
FRESH_EPOCHS, WORN_EPOCHS = 4, 16
ASSUMED_UTILISATION = 0.4
"""The share of the peak that training is assumed to reach before it is timed."""
LARGEST_BATCH = {"cpu": 8192, "cuda": 16384}
"""Tokens of one forward pass; larger steps are accumulated."""
SAMPLE_TOKENS, SAMPLE_STEPS = 1 << 15, 32
"""Size of the sample from which the mean step is estimated."""


@dataclass(frozen=True)
class Plan:
    """The model and the steps on which a budget is spent."""

    preset: str | None
    """The preset of a new model; None: the run continues from a model."""
    parameters: int
    weights: int
    """Parameters of the layers' matrices."""
    batch_tokens: int
    accumulate: int
    steps: int
    tokens: int
    epochs: float
    flops: float
    seconds: float
    """Seconds of training and evaluation."""
    evaluating: float
    """Seconds of evaluation."""
    planning: float
    """Seconds spent on planning."""
    why: str
    """The rule by which the size was chosen."""

    @classmethod
    def of(
        cls, chosen: "Candidate", steps: int, corpus_tokens: int, why: str, planning: float
    ) -> "Plan":
        """Make the plan of a candidate for this many steps."""
        tokens, operations, _ = chosen.step
        every = chosen.config.training.eval_every
        evaluations = math.ceil(steps / every) if every else 1
        return cls(
            preset=chosen.config.preset,
            parameters=sum(p.numel() for p in chosen.model.parameters()),
            weights=chosen.weights,
            batch_tokens=chosen.config.batch_tokens,
            accumulate=chosen.config.accumulate,
            steps=steps,
            tokens=round(steps * tokens),
            epochs=steps * tokens / corpus_tokens,
            flops=steps * operations,
            seconds=steps * chosen.seconds + evaluations * chosen.evaluation,
            evaluating=evaluations * chosen.evaluation,
            planning=planning,
            why=why,
        )

    def settle(self, config: PretrainConfig) -> PretrainConfig:
        """Replace the budget in the options by the choices of the plan."""
        return replace(
            config,
            preset=self.preset,
            batch_tokens=self.batch_tokens,
            accumulate=self.accumulate,
            budget=None,
            training=replace(config.training, steps=self.steps),
        )

    def table(self) -> Table:
        """Tabulate the plan."""
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="bold")
        worn = f": after {WORN_EPOCHS} they teach little, more text would"
        for name, value in {
            "model": f"{self.preset or 'the given one'}: {self.why}",
            "parameters": f"{self.parameters:,}, {self.weights:,} of them in the layers",
            "tokens": f"{self.tokens:,}, {self.tokens / self.weights:.1f} for each of these",
            "epochs": f"{self.epochs:.2g}{worn if self.epochs > WORN_EPOCHS else ''}",
            "steps": f"{self.steps:,} of {self.batch_tokens * self.accumulate:,} tokens",
            "time": f"about {spoken(self.seconds + self.planning)}: "
            f"{spoken(self.seconds - self.evaluating)} of training, "
            f"{spoken(self.evaluating)} of evaluating, {spoken(self.planning)} of planning",
            "operations": f"{self.flops:.2e}",
        }.items():
            table.add_row(name, value)
        return table


@dataclass(frozen=True)
class Candidate:
    """A model of one size, in steps of one size."""

    config: PretrainConfig
    model: PretrainedModel
    loss: Objective[Any, MaskedBatch]
    batches: MaskedBatches
    flops: Flops[MaskedBatch]
    held_out: int
    """Tokens of an evaluation."""
    limit: float = math.inf
    """Seconds of a step above which it is timed only once."""

    @cached_property
    def weights(self) -> int:
        """Count the parameters of the layers' matrices."""
        shape = self.model.config
        return shape.num_hidden_layers * layer_weights(shape)

    @cached_property
    def step(self) -> tuple[float, float, float]:
        """Estimate the mean step: its tokens, the operations of training on it, its targets."""
        size = self.config.batch_tokens * self.config.accumulate
        steps = min(max(SAMPLE_TOKENS // size, 1), SAMPLE_STEPS)
        sample = [batch for step in range(steps) for batch in self.batches(step)]
        tokens, operations, targets = all_reduce_sum(
            sum(batch.num_tokens for batch in sample),
            sum(map(self.flops, sample)),
            sum(len(batch.labels) for batch in sample),
        )
        return tokens / steps, operations / steps, (targets or tokens) / steps

    @cached_property
    def seconds(self) -> float:
        """Time a step on this machine; this trains the model, which must be discarded."""
        return seconds_per_step(
            self.model, self.loss, self.batches, self.config.training, self.limit
        )

    @property
    def evaluation(self) -> float:
        """Estimate the seconds of an evaluation: a forward pass is a third of training."""
        return self.evaluation_at(self.seconds)

    def evaluation_at(self, seconds: float) -> float:
        """Estimate the seconds of an evaluation from those of a step."""
        return self.held_out * seconds / max(self.step[0], 1) / 3

    def steps(self, budget: Budget, speed: float | None = None) -> float:
        """Count the steps within the budget, at a given rate of operations, or as timed.

        n steps and the evaluations among them:  n · s + (1 + n / every) · e  =  budget.
        """
        if budget.flops is not None:
            return budget.flops / self.step[1]
        assert budget.seconds is not None
        seconds = self.step[1] / speed if speed else self.seconds
        evaluation, every = self.evaluation_at(seconds), self.config.training.eval_every
        return (budget.seconds - evaluation) / (seconds + (evaluation / every if every else 0.0))

    def least_memory(self) -> int:
        """Estimate the least memory of training, in bytes, of one process."""
        shape, training = self.model.config, self.config.training
        return least_memory(
            sum(p.numel() for p in self.model.parameters()),
            state_size(self.model, training),
            layers=shape.num_hidden_layers,
            hidden=shape.hidden_size,
            intermediate=shape.intermediate_size,
            tokens=self.config.batch_tokens,
            recomputed=training.activation_checkpointing,
            shards=world_size() if training.parallel == "fsdp" else 1,
        )


MakeCandidate = Callable[[PretrainConfig], Candidate]
"""Options without a budget → the model and the batches of these options."""


def make_plan(
    config: PretrainConfig,
    corpus_tokens: int,
    make: MakeCandidate,
    say: Callable[[str], object] = lambda _: None,
) -> Plan:
    """Plan `config.budget` for a corpus of this many tokens; report progress to `say`.

    Raises UserError for a budget that does not last for a step, and for a model that does not fit.
    """
    begin = time.monotonic()
    budget, device = Budget.of(config.budget or ""), choose_device(config.training.device)
    say(f"planning {config.budget}: measuring this machine")
    peak = peak_flops(device, number_format(device, config.training.precision)) * world_size()
    peak = broadcast_from_main({"peak": peak})["peak"]
    memory = available_memory(device)
    if memory is not None:  # all processes must choose the same size
        memory = int(broadcast_from_main({"memory": memory})["memory"])
    presets, fresh = sizes(config), FRESH_EPOCHS * corpus_tokens
    limit = math.inf if budget.seconds is None else budget.seconds / 4
    chosen, steps, why = None, 0.0, "as you said" if len(presets) == 1 else "the largest there is"
    for preset in presets:
        found = in_steps(replace(config, preset=preset), budget, peak, fresh, make)
        found = replace(found, limit=limit)
        wanted = TOKENS_PER_WEIGHT * found.weights
        if chosen and wanted > fresh:
            why = f"for a larger one {FRESH_EPOCHS} epochs are too little text"
            break
        if memory is not None and found.least_memory() > memory:
            if not chosen:
                raise UserError(too_large(found, memory))
            why = f"a larger one does not fit into {memory / 2**30:.1f} GiB of memory"
            break
        affordable = found.steps(budget, peak)
        if affordable < 1 and not chosen:
            raise UserError(too_small(config, found, found.step[1] / peak, bound="at least "))
        if not chosen or affordable * found.step[0] >= wanted:
            say(f"planning {config.budget}: timing steps of {preset or 'the model'}")
            affordable = found.steps(budget)
        enough = affordable * found.step[0] >= wanted
        if chosen and not enough:
            why = "for a larger one the budget is too small"
            break
        chosen, steps = found, affordable
        if not enough and len(presets) > 1:
            why = "the smallest there is, though even it gets few tokens"
            break
    assert chosen is not None
    planning = broadcast_from_main({"planning": time.monotonic() - begin})["planning"]
    spent = ""
    if budget.seconds is not None:
        steps = chosen.steps(replace(budget, seconds=budget.seconds - planning))
        spent = f"planning took {spoken(planning)}, "
    if steps < 1:
        raise UserError(too_small(config, chosen, chosen.seconds, spent))
    return Plan.of(chosen, int(steps), corpus_tokens, why, planning)


def too_small(
    config: PretrainConfig, chosen: Candidate, seconds: float, spent: str = "", bound: str = ""
) -> str:
    """Make the error for a budget shorter than one step."""
    return (
        f"a budget of {config.budget} is too small for planning, one step of "
        f"{chosen.config.preset or 'the model'} and an evaluation: {spent}a step takes "
        f"{bound}{spoken(seconds)} and {chosen.step[1]:.2g} operations; give more, a smaller "
        "--preset, or smaller batches (--batch-tokens, --accumulate)"
    )


def too_large(found: "Candidate", memory: int) -> str:
    """Make the error for a model that does not fit into memory."""
    return (
        f"training {found.config.preset or 'the model'} on batches of "
        f"{found.config.batch_tokens:,} tokens takes at least "
        f"{found.least_memory() / 2**30:.1f} GiB of memory, and {memory / 2**30:.1f} are free: "
        "take a smaller --preset, smaller --batch-tokens (and more --accumulate), or "
        "--activation-checkpointing"
    )


def in_steps(
    config: PretrainConfig, budget: Budget, peak: float, fresh: int, make: MakeCandidate
) -> Candidate:
    """Make the candidate of these options, with the batch size for the tokens it may read."""
    if config.batch_tokens:
        return make(replace(config, budget=None))
    found = make(with_batch(config, DEFAULT_BATCH))
    tokens, _, targets = found.step
    read = min(found.steps(budget, ASSUMED_UTILISATION * peak) * tokens, fresh)
    return make(with_batch(config, step_tokens(read, targets / tokens)))


def step_tokens(tokens: float, share: float) -> int:
    """Choose the tokens of a step, for a run of `tokens`; `share` is the predicted fraction.

    Predicted tokens of a step = 0.29 · D^0.571, with D those of the whole run; a power of two.
    """
    predicted = 0.29 * max(tokens * share, 1) ** 0.571
    return int(2 ** round(math.log2(predicted / share)))


def with_batch(config: PretrainConfig, tokens: int) -> PretrainConfig:
    """Set steps of so many tokens, in batches that fit into one forward pass."""
    device, processes = choose_device(config.training.device), world_size()
    largest = LARGEST_BATCH.get(device.type, DEFAULT_BATCH)
    batch = max(min(tokens // processes, largest), config.max_length)
    accumulate = processes * max(tokens // (processes * batch), 1)
    return replace(config, batch_tokens=batch, accumulate=accumulate, budget=None)


def left_open(config: PretrainConfig) -> set[str]:
    """Return the names of the options that a plan chooses, since they are not given."""
    if config.budget is None:
        return set()
    preset = set() if config.preset in PRESETS or config.model else {"preset"}
    batch = set() if config.batch_tokens else {"batch_tokens", "accumulate"}
    return {"budget", *preset, *batch}


def resume_plan(config: PretrainConfig, saved: Mapping[str, Any]) -> PretrainConfig:
    """Fill in the choices of the plan of the run to resume; refuse another budget than its own."""
    path = config.out / PLAN
    begun = read_json(path).get("budget") if path.exists() else None
    if begun is None or Budget.of(str(begun)) != Budget.of(config.budget or ""):
        raise UserError(
            f"the run in {config.out} was started with budget={begun}, not {config.budget}: resume "
            "it with the same options, or choose another folder"
        )
    filled = {name: saved[name] for name in left_open(config)}
    training = replace(config.training, steps=saved["training"]["steps"])
    return replace(config, **filled, training=training)


def sizes(config: PretrainConfig) -> Sequence[str | None]:
    """Return the presets to choose from, smaller ones first: of a family, or the given one."""
    if config.model is not None or config.preset in PRESETS:
        return [config.preset]
    family = config.preset or choose_objective(config.objective).preset_family
    found = [name for name in PRESETS if name.startswith(f"{family}-")]
    if not found:
        raise UserError(f"unknown preset {family!r}: choose one of {', '.join(PRESETS)}")
    return sorted(
        found, key=lambda name: layer_weights(PRESETS[name]) * PRESETS[name].num_hidden_layers
    )


def spoken(seconds: float) -> str:
    """Write a duration: 1.2 seconds, 12 seconds, 5.3 minutes, 2.5 hours, 3.1 days."""
    for size, name in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    number = f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2g}"
    return f"{number} second{'' if number == '1' else 's'}"
