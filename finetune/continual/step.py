"""Learn one task of a sequence, from the weights that the step before left.

    OUT/checkpoints/2-names/log.jsonl, curve.png …   the run of training
    OUT/checkpoints/2-names/weights.safetensors      the encoder, and the heads of the tasks so far
    OUT/checkpoints/2-names/ewc.safetensors          with --ewc, the pull of these tasks

The heads of earlier tasks are trained by LwF and by replay alone.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from plainformer.base import atomic_path
from plainformer.base.tensors import save_tensors
from plainformer.encoder.weights.folder import mapped
from plainformer.finetune.continual.config import ContinualConfig
from plainformer.finetune.continual.ewc import ElasticPull, fisher
from plainformer.finetune.continual.lwf import lwf
from plainformer.finetune.continual.replay import Replayed, buffer
from plainformer.finetune.fit import fit_batches, multipliers_of
from plainformer.finetune.micro_batches import micro_batches
from plainformer.finetune.multitask import SeveralHeads
from plainformer.finetune.multitask.data import TaskBatch, TaskData, several_objective
from plainformer.finetune.prediction.predictor import MeanLoss
from plainformer.finetune.run import build
from plainformer.training import Result, by_items, choose_device, is_main
from plainformer.training.checkpoint import tensors
from plainformer.training.parallel import assign, full_state_dict

WEIGHTS, PULL = "weights.safetensors", "ewc.safetensors"
FISHER_EXAMPLES = 500
"""The most training examples of a task on which its Fisher information is computed."""


def learn(
    config: ContinualConfig,
    data: Mapping[str, TaskData],
    folder: Path,
    before: Path | None,
    quiet: bool,
) -> tuple[SeveralHeads, Result | None]:
    """Train on the last task of `data` in `folder`, from the weights in the folder `before`."""
    *earlier, name = data
    new, options, seed = data[name], config.continual, config.training.seed
    settings = replace(new.config, out=folder)
    device = choose_device(config.training.device)
    model = build_heads(data, before).to(device)

    objective = several_objective({n: one.task for n, one in data.items()}, config.robust)
    if options.lwf and earlier:
        old = copy.deepcopy(model).eval().requires_grad_(False)
        objective = lwf(objective, {n: data[n].task for n in earlier}, old, options.lwf)
    pull = ElasticPull()
    if options.ewc and before is not None:
        pull = ElasticPull.load(before / PULL, device)
    kept = {n: buffer(data[n].items, options.buffer, seed) for n in earlier}
    items = {**kept, name: new.items}
    orders = {n: by_items(len(of), data[n].config.batch_size, seed=seed) for n, of in items.items()}
    order = Replayed(name, orders, options.replay)

    def batches(step: int) -> list[TaskBatch]:
        of_task, chosen = order(step)
        some = [items[of_task][i] for i in chosen]
        return [TaskBatch(of_task, batch) for batch in micro_batches(some, config.accumulate)]

    def evaluate(model: SeveralHeads) -> dict[str, float]:
        loss = MeanLoss()
        _, metric = new.score(model.tasks[name], loss)
        return {"loss": loss.value, **metric.scores()}

    def hold(model: SeveralHeads, step: int) -> None:
        pull.add_gradient(model, options.ewc)

    result = fit_batches(
        model,
        objective,
        batches,
        orders[name].steps(epochs=1),
        settings,
        multipliers_of(model, settings, quiet),
        evaluate if new.held_out else None,
        new.task.monitor,
        quiet,
        before_step=hold if options.ewc else None,
        all_steps=order.steps,
    )
    if options.ewc:
        few = buffer(new.items, FISHER_EXAMPLES, seed)
        pull = pull.after(model, fisher(new.task, model.tasks[name], few))
    weights = full_state_dict(tensors(model))
    if is_main():
        if options.ewc:
            pull.save(folder / PULL)
        with atomic_path(folder / WEIGHTS) as path:
            save_tensors(weights, path)
    return model, result


def build_heads(data: Mapping[str, TaskData], before: Path | None) -> SeveralHeads:
    """Build a head for each task on the pretrained encoder; load what the step before left."""
    model = SeveralHeads({name: build(one.task, one.config) for name, one in data.items()})
    own = tensors(model)
    for name, tensor in (mapped(before / WEIGHTS) if before else {}).items():
        assign(own[name], tensor)
    return model
