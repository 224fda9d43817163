"""AdamW against its formula in float64, and its state through the names of parameters."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training import toy
from training import TrainingConfig
from training.optimizer import build_optimizer, optimizer_tensors, restore_optimizer


def step_with(model, optimizer, seed):
    torch.manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()


def test_equals_the_formula():
    config = TrainingConfig(learning_rate=0.01, weight_decay=0.1, betas=(0.8, 0.95), eps=1e-5)
    model = toy.Model().double()
    optimizer = build_optimizer(model, config)
    expected = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    m = {name: np.zeros_like(value) for name, value in expected.items()}
    v = {name: np.zeros_like(value) for name, value in expected.items()}
    for t in range(1, 6):
        step_with(model, optimizer, t)
        for name, parameter in model.named_parameters():
            g, decay = parameter.grad.numpy(), 0.1 if "weight" in name and "norm" not in name else 0
            m[name] = 0.8 * m[name] + 0.2 * g
            v[name] = 0.95 * v[name] + 0.05 * g**2
            m_hat, v_hat = m[name] / (1 - 0.8**t), v[name] / (1 - 0.95**t)
            change = m_hat / (np.sqrt(v_hat) + 1e-5) + decay * expected[name]
            expected[name] = expected[name] - 0.01 * change
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(
            parameter.detach().numpy(), expected[name], rtol=1e-9, atol=1e-12
        )


def test_frozen_parameters_stay(tmp_path):
    model = toy.Model()
    model.embed.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    toy.run(tmp_path / "run", replace(toy.CONFIG, steps=3), model=model)
    moved = {name for name, tensor in model.state_dict().items() if not tensor.equal(before[name])}
    assert moved == before.keys() - {"embed.weight"}


def test_state_goes_by_name_and_comes_back():
    model, other = toy.Model(), toy.Model()
    one, two = build_optimizer(model, toy.CONFIG), build_optimizer(other, toy.CONFIG)
    step_with(model, one, 1)
    tensors = optimizer_tensors(model, one)
    assert {"hidden.weight.exp_avg", "hidden.weight.exp_avg_sq", "hidden.weight.step"} <= set(
        tensors
    )
    other.load_state_dict(model.state_dict())
    restore_optimizer(other, two, tensors)
    step_with(model, one, 2)
    step_with(other, two, 2)
    for name, tensor in model.state_dict().items():
        assert tensor.equal(other.state_dict()[name])
    with pytest.raises(KeyError):
        restore_optimizer(other, two, {"nowhere.step": torch.zeros(())})
