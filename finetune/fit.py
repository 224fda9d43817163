"""Train the model of a task on its items, and keep the weights that score best."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from plainformer.base.say import say
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.config import FinetuneConfig
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.data.fingerprint import Fingerprints, remember
from plainformer.finetune.distillation import distillation, remove_projection
from plainformer.finetune.fair import fair_objective, remove_fair, update_weights
from plainformer.finetune.lr_decay import layer_multipliers
from plainformer.finetune.metrics import Metric
from plainformer.finetune.micro_batches import micro_batches
from plainformer.finetune.prediction.predictor import MeanLoss, measure, predict_stream
from plainformer.finetune.robust import PullToStart, robust_objective, weight_in_average
from plainformer.finetune.robust.averaging import (
    add_average,
    averaged,
    keep_average,
    update_average,
)
from plainformer.finetune.task import AnyTask, Task
from plainformer.finetune.tuning import trained_parameters
from plainformer.finetune.tuning.trained import is_frozen
from plainformer.training import (
    Batches,
    LearningRateMultipliers,
    Result,
    TrainingConfig,
    TrainingObjective,
    by_items,
    has_checkpoint,
    is_main,
    save_options,
    train,
)
from plainformer.training.objective import BatchT

MAX_EVALUATIONS = 10

ModelT = TypeVar("ModelT", bound=PretrainedModel)

Watch = Callable[[float, float], None]
"""A function that is called after each evaluation with the share of the steps that are done and the
validation score; it may raise an exception to end the run."""


def fit(
    task: AnyTask,
    model: PretrainedModel,
    items: list[Item],
    held_out: list[tuple[Any, Item]],
    config: FinetuneConfig,
    new: Fingerprints | None,
    quiet: bool,
    watch: Watch | None = None,
) -> Result | None:
    """Train on `items`; with `select`, restore the weights that scored best on `held_out`."""
    multipliers = multipliers_of(model, config, quiet)
    distil = distillation(task, model, config)
    fair = fair_objective(task, model, items, config)
    order = by_items(len(items), config.batch_size, seed=config.training.seed)
    if new is not None and is_main():
        remember(new, config.out)
    if new is not None or not has_checkpoint(config.out):
        save_options(replace(config, resume=False), config.out)

    def batches(step: int) -> list[Batch[Item]]:
        (chosen,) = order(step)
        return micro_batches([items[i] for i in chosen], config.accumulate)

    def evaluate(model: PretrainedModel) -> dict[str, float]:
        loss = MeanLoss()
        _, metric = tune_and_score(task, model, held_out, config.select, loss)
        return {"loss": loss.value, **metric.scores()}

    result = fit_batches(
        model,
        robust_objective(task, config.robust, lambda objective: distil(fair(objective))),
        batches,
        order.steps(epochs=1),
        config,
        multipliers,
        evaluate if held_out else None,
        task.monitor,
        quiet,
        watch,
        after_step=update_weights if config.fair.group_dro else None,
    )
    remove_projection(model)
    remove_fair(model)
    return result


def multipliers_of(
    model: PretrainedModel, config: FinetuneConfig, quiet: bool
) -> LearningRateMultipliers:
    """Return the learning-rate multipliers that `config` says; print what is trained of a part."""
    multipliers = layer_multipliers(
        model, config.layer_decay, config.freeze_embeddings, config.freeze_layers
    )
    if is_frozen(model, multipliers):
        say(trained_parameters(model, multipliers), quiet)
    return multipliers


def fit_batches(
    model: ModelT,
    objective: TrainingObjective[ModelT, BatchT],
    batches: Batches[BatchT],
    steps_per_epoch: int,
    config: FinetuneConfig,
    multipliers: LearningRateMultipliers,
    evaluate: Callable[[ModelT], dict[str, float]] | None,
    monitor: str,
    quiet: bool,
    watch: Watch | None = None,
    before_step: Callable[[ModelT, int], None] | None = None,
    after_step: Callable[[ModelT, int], None] | None = None,
    all_steps: Callable[[int], int] = lambda own: own,
) -> Result | None:
    """Train on `batches` with the methods of `config`, and average the weights if it says so.

    With `select`, the weights with the best `monitor` of `evaluate` are restored. `before_step` is
    called with the model and the step when the gradients are complete, after the methods of
    `config`; `after_step` with the model and the number of steps so far, after each one.
    `all_steps` adds to the steps of the task those that are taken for others.
    """
    if config.epochs == 0:
        return None
    steps = all_steps(round(config.epochs * steps_per_epoch))
    every = config.training.eval_every or max(steps_per_epoch, steps // MAX_EVALUATIONS)
    is_selecting = config.select and evaluate is not None
    given = vars(config.training)
    if not is_selecting:
        given = {**given, "patience": 0}
    pull = None
    if config.robust.l2_sp:
        pull = PullToStart(model, config.robust.l2_sp, config.training.weight_decay)
        given = {**given, "weight_decay": 0.0}
    settings = TrainingConfig(**{**given, "steps": max(1, steps), "eval_every": every})
    ranks = config.tuning.ranks(model, settings.steps)
    weight = weight_in_average(config.robust, settings.steps)
    if weight is not None:
        add_average(model)
    chosen = pull, config.tuning.before_step(settings.steps), ranks and ranks.before, before_step
    hooks = [hook for hook in chosen if hook]

    def before(model: ModelT, step: int) -> None:
        for hook in hooks:
            hook(model, step)

    def after(model: ModelT, step: int) -> None:
        if ranks is not None:
            ranks.after(model, step)
        if weight is not None:
            update_average(model, weight(step))
        if after_step is not None:
            after_step(model, step)

    def watch_score(step: int, metrics: Mapping[str, float]) -> None:
        if watch is not None:
            watch(step / settings.steps, metrics[monitor])

    result = train(
        model,
        objective,
        batches,
        settings,
        config.out,
        evaluate=(lambda model: evaluate(averaged(model))) if evaluate else None,
        monitor=monitor if is_selecting else None,
        higher_is_better=True,
        lr_multipliers=multipliers,
        before_step=before if hooks else None,
        after_step=after,
        after_evaluation=watch_score,
        resume=config.resume,
        label="fine-tuning",
        quiet=quiet,
    )
    if weight is not None:
        keep_average(model)
    if ranks is not None:
        ranks.finish(model)
    return result


def tune_and_score(
    task: AnyTask,
    model: PretrainedModel,
    held_out: list[tuple[Any, Item]],
    select: bool,
    loss: MeanLoss | None = None,
) -> tuple[AnyTask, Metric]:
    """Tune the thresholds of the task on `held_out`, if `select`; return the task and its metric.

    Thresholds are tuned at every evaluation: at a fixed 0.5 rare labels would never be predicted
    early in training.
    """
    if not select or not held_out or type(task).tune is Task.tune:
        return task, measure(task, model, held_out, loss)
    results = [
        (example, prediction)
        for example, _, prediction in predict_stream(task, model, held_out, loss)
    ]
    task = task.tune(results)
    metric = task.metric()
    for example, prediction in results:
        task.add_to(metric, example, task.decide(prediction))
    return task, metric
