"""Train a model: the loop of pretraining and fine-tuning.

    until all steps are done, or patience is exhausted:
        take a step;  evaluate and save when due;  save and exit after a signal

The data are batches(step), and randomness follows from (seed, step, micro-batch). There is no other
state, so a run that was killed and resumed equals an unbroken one bit for bit (on the CPU).
"""

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from plainformer.base import UserError, read_json, write_json
from plainformer.training.checkpoint import Checkpoints, State, full_disk, load_tensors, tensors
from plainformer.training.config import TrainingConfig
from plainformer.training.device import autocast, number_format, training_device
from plainformer.training.distributed import (
    all_reduce_sum,
    broadcast_from_main,
    is_main,
    main_first,
    world_size,
)
from plainformer.training.objective import Batches, BatchT, Flops, ModelT, TrainingObjective
from plainformer.training.optimizer import LearningRateMultipliers, build_optimizer, full_rate
from plainformer.training.options import PLAN
from plainformer.training.parallel import is_fsdp, layers_in_training, to_device, unshard, wrap_ddp
from plainformer.training.peak import peak_flops
from plainformer.training.progress import TrainingProgress
from plainformer.training.run_log import Record
from plainformer.training.signals import Interruption
from plainformer.training.step import take_step


@dataclass(frozen=True)
class Result:
    """The result of a run."""

    steps: int
    best_step: int | None
    """The step of the best weights, which the model holds; None without a `monitor`."""
    best: Mapping[str, float]
    """The evaluation at `best_step`."""
    last: Mapping[str, float]
    """The last evaluation."""
    seconds: float
    """Training time of all sessions, without evaluation and saving."""
    tokens: int
    stopped: Literal["finished", "patience"]

    @property
    def final(self) -> Mapping[str, float]:
        """Return the evaluation of the final weights of the model."""
        return self.last if self.best_step is None else self.best


def train(
    model: ModelT,
    objective: TrainingObjective[ModelT, BatchT],
    batches: Batches[BatchT],
    config: TrainingConfig,
    out: Path,
    *,
    evaluate: Callable[[ModelT], Mapping[str, float]] | None = None,
    before: Mapping[str, float] | None = None,
    monitor: str | None = None,
    higher_is_better: bool = False,
    lr_multipliers: LearningRateMultipliers = full_rate,
    flops: Flops[BatchT] | None = None,
    before_step: Callable[[ModelT, int], None] | None = None,
    after_step: Callable[[ModelT, int], None] | None = None,
    after_evaluation: Callable[[int, Mapping[str, float]], None] | None = None,
    resume: bool = False,
    label: str = "training",
    loss_label: str = "loss",
    quiet: bool = False,
) -> Result:
    """Train `model` in place on `batches`; write plan, log, plot and checkpoints to `out`.

    `evaluate` computes the metrics to follow; `before` are those of the initial weights, the first
    line of the log. `monitor` names the metric that selects the best weights and that
    `config.patience` follows. With it the model ends with the best weights, else with the last.
    `lr_multipliers` maps the name of a parameter to a factor of the learning rate; 0 freezes it.
    `flops` computes the cost of training on a batch: the display then shows the utilisation of the
    device. `before_step` is called with the model and the step (from 0) when the gradients are
    complete: see `take_step`. `after_step` is called with the model and the number of steps so far,
    after each one, even one that was skipped. `after_evaluation` is called with the number of steps
    so far and the metrics, and may raise an exception to end the run. `loss_label` names the loss
    in the curve. `resume` continues from the newest undamaged checkpoint in `out`, or starts where
    there is none.

    Raises UserError for a folder that holds another run, or none but damaged checkpoints, for other
    settings than those of the run to resume, for a loss that is NaN or a spike (as
    `config.on_spike` says) and for a full disk. After SIGINT (Ctrl-C), SIGTERM or SIGUSR1 it
    finishes the step, or abandons an evaluation, which the resumed run repeats; it saves, and
    raises KeyboardInterrupt or SystemExit (see `training.signals`).

    On a CPU a resumed run is bit for bit one that was never stopped. On a GPU it has the same
    batches, masks and dropout, but kernels that add in no fixed order (attention's backward pass,
    scattered sums) differ in the last bits: it then differs from the unbroken run as much as two
    unbroken runs differ. `torch.use_deterministic_algorithms(True)`, with
    CUBLAS_WORKSPACE_CONFIG=:4096:8 in the environment, enforces fixed orders.
    """
    if (monitor and not evaluate) or (config.patience and not monitor):
        raise ValueError("patience needs a monitor, and a monitor needs evaluate")
    device = training_device(config)
    form = number_format(device, config.precision)
    model_call = to_device(model, device, config.parallel)
    trained: ModelT = model_call.model
    optimizer = build_optimizer(trained, config, lr_multipliers)
    hook = partial(before_step, trained) if before_step else None
    call = wrap_ddp(model_call, objective, lambda: batches(0)[0].to(device))
    checkpoints = Checkpoints(out / "checkpoints", trained, optimizer, config)
    begun = (out / "log.jsonl").exists() or (out / "checkpoints").exists()
    if is_main() and begun and not resume:
        raise UserError(f"{out} already holds a run: --resume it, or choose another folder")
    with main_first():
        state = (checkpoints.restore() if resume else None) or State()
    saved = state.step, state.evaluated

    loss_scale = state.loss_scale if form == torch.float16 else None
    peak = peak_flops(device, form) * world_size() if flops else None

    with (
        full_disk(out),
        layers_in_training(
            trained, compiled=config.compile, recomputed=config.activation_checkpointing
        ),
        Interruption() as interruption,
        TrainingProgress(label, config.steps, quiet=quiet or not is_main()) as display,
        Record(out, state, display, peak, config.on_spike, config.track, loss_label) as record,
    ):
        if is_main():
            plan = read_json(out / PLAN) if (out / PLAN).exists() else {}
            write_json(out / PLAN, {**plan, "steps": config.steps})
        if before is not None and state.step == 0:
            record.evaluation(before, best=False)

        def leaving() -> bool:
            """Return whether any process has received a signal."""
            return any(all_reduce_sum(bool(interruption)))

        call.train()
        while True:
            due = _over(state, config) or _due(state.step, config.eval_every)
            if evaluate and due and state.evaluated < state.step:
                record.flush()
            if evaluate and due and state.evaluated < state.step and not leaving():
                metrics: Mapping[str, float] = {}
                # With a sharded model all processes must finish the evaluation together.
                give_up = nullcontext() if is_fsdp(call) else interruption.gives_up()
                call.eval()
                with give_up, torch.no_grad(), autocast(device, config.precision):
                    metrics = call(evaluate)
                call.train()
                if not leaving():  # else it may be incomplete, and is done again
                    state.last, state.evaluated = broadcast_from_main(metrics), state.step
                    gained = _gained(state, monitor, higher_is_better)
                    record.evaluation(state.last, best=gained)
                    if gained:
                        checkpoints.save_best(state)
                    if after_evaluation:
                        after_evaluation(state.step, state.last)
                record.restart_clock()

            due = _over(state, config) or _due(state.step, config.checkpoint_every)
            stops = leaving()
            if (due or stops) and saved != (state.step, state.evaluated):
                record.sync()
                checkpoints.save(state)
                saved = state.step, state.evaluated
                record.restart_clock()
                stops = leaving()
            if stops:
                message = f"step {state.step} is saved in {out}: --resume goes on from there"
                display.say(message)
                record.draw()
                interruption.leave(message)
            if _over(state, config):
                break

            step = take_step(
                call,
                objective,
                batches,
                optimizer,
                config,
                state.step,
                flops,
                state.spikes,
                hook,
                loss_scale,
            )
            state.step, state.tokens = state.step + 1, state.tokens + step.tokens
            if after_step:
                after_step(trained, state.step)
            record.add(step)

        record.draw()
        if monitor and state.best_step is not None:
            checkpoints.restore_best()
    if trained is not model:
        load_tensors(model, {name: unshard(value) for name, value in tensors(trained).items()})
    model.eval()
    return Result(
        steps=state.step,
        best_step=state.best_step,
        best=state.best,
        last=state.last,
        seconds=state.seconds,
        tokens=state.tokens,
        stopped="finished" if state.step == config.steps else "patience",
    )


def _over(state: State, config: TrainingConfig) -> bool:
    impatient = 0 < config.patience <= state.evaluations_without_gain
    return state.step >= config.steps or impatient


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _gained(state: State, monitor: str | None, higher_is_better: bool) -> bool:
    """Update the best evaluation; return whether it is the last one, which NaN never is."""
    if monitor is None:
        return False
    if monitor not in state.last:
        raise ValueError(f"no {monitor!r} among the evaluation's {', '.join(state.last)}")
    value, best = state.last[monitor], state.best.get(monitor, math.nan)
    if higher_is_better:
        value, best = -value, -best
    if math.isnan(value) or value >= best:
        state.evaluations_without_gain += 1
        return False
    state.evaluations_without_gain = 0
    state.best_step, state.best = state.step, state.last
    return True
