"""The closed formulas against PyTorch's recursive schedulers."""

import math

import pytest
import torch
from torch.optim import lr_scheduler

from plainformer.training import TrainingConfig, learning_rate


def reference(steps: int, warmup: int, after: str) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    rest = steps - warmup
    then = {
        "linear": lambda: lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=rest),
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(optimizer, T_max=rest),
        "constant": lambda: lr_scheduler.ConstantLR(optimizer, factor=1.0),
    }
    rise = lr_scheduler.LinearLR(optimizer, 1 / warmup, 1.0, total_iters=warmup - 1)
    scheduler = lr_scheduler.SequentialLR(optimizer, [rise, then[after]()], milestones=[warmup])
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
@pytest.mark.filterwarnings("ignore:The epoch parameter")
def test_equals_pytorch(schedule):
    config = TrainingConfig(steps=50, warmup=0.2, learning_rate=0.3, schedule=schedule)
    rates = [learning_rate(config, step) for step in range(50)]
    assert rates == pytest.approx(reference(50, 10, schedule), rel=1e-9)


@pytest.mark.parametrize("warmup", [0, 10])
@pytest.mark.filterwarnings("ignore:Detected call of")
def test_transformers_linear_schedule(warmup):
    """The very same without warm-up; with it, theirs rises one step later, from a step at zero."""
    from transformers import get_linear_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = get_linear_schedule_with_warmup(optimizer, warmup, 50)
    theirs = []
    for _ in range(50):
        theirs.append(scheduler.get_last_lr()[0])
        scheduler.step()
    config = TrainingConfig(steps=50, warmup=warmup / 50, learning_rate=0.3)
    ours = [learning_rate(config, step) for step in range(50)]
    assert ours[:warmup] == pytest.approx(theirs[1 : warmup + 1], rel=1e-12)
    assert ours[warmup:] == pytest.approx(theirs[warmup:], rel=1e-12)


def test_warmup_stable_decay():
    config = TrainingConfig(steps=100, warmup=0.1, decay=0.2, learning_rate=2.0, schedule="wsd")
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    assert rates[10:81] == [2.0] * 71
    assert rates[81:] == pytest.approx([2 * (1 - math.sqrt(k / 20)) for k in range(1, 20)])


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant", "wsd"])
@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("warmup", [0.0, 0.5, 1.0])
def test_no_step_is_wasted(schedule, steps, warmup):
    config = TrainingConfig(
        steps=steps, warmup=warmup, decay=1 - warmup, learning_rate=1.0, schedule=schedule
    )
    rates = [learning_rate(config, step) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates) and max(rates) == 1
