"""A step of fine-tuning reads no number from the device, whatever the task."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException

from plainformer.finetune.data.batch import Batch
from plainformer.finetune.task_objective import task_objective
from plainformer.training import Loss, TrainingConfig
from plainformer.training.optimizer import build_optimizer
from plainformer.training.parallel import ModelCall
from plainformer.training.step import take_step
from tests.finetune import test_robust_tasks as made
from tests.training.fakes import without_numbers


def step(model: Any, objective: Any, batch: Any) -> Any:
    config = TrainingConfig(device="cpu")
    optimizer = build_optimizer(model, config)
    return take_step(ModelCall(model), objective, lambda _: [batch], optimizer, config, 0)


@pytest.mark.parametrize("name", made.TASKS)
def test_a_step_waits_for_nothing(name: str) -> None:
    task, model, items = made.TASKS[name](0.1)
    if hasattr(task, "label_smoothing"):
        task = replace(task, label_smoothing=0.1)
    objective = task_objective(task)
    with without_numbers(model.train(), Batch.of(items)) as (batch,):
        taken = step(model, objective, batch)
    assert taken.count and taken.tokens == batch.num_tokens


def test_a_step_that_waits_is_seen() -> None:
    task, model, items = made.classification(0.1)
    objective = task_objective(task)

    def waits(model: Any, batch: Any) -> Loss:
        loss = objective(model, batch)
        return loss._replace(metrics={"loss": float(loss.total.detach())})

    with (
        without_numbers(model.train(), Batch.of(items)) as (batch,),
        pytest.raises(DataDependentOutputException),
    ):
        step(model, waits, batch)
    assert torch.is_tensor(batch.input_ids)
