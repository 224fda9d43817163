"""AdamW against its formula in float64, and its state through the names of parameters."""

import copy
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from plainformer.base import UserError
from plainformer.training import TrainingConfig, learning_rate
from plainformer.training.optimizer import build_optimizer, optimizer_tensors, restore_optimizer
from tests.training import toy


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


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_sgd_equals_the_formula(momentum):
    config = TrainingConfig(
        optimizer="sgd", learning_rate=0.01, weight_decay=0.1, momentum=momentum
    )
    model = toy.Model().double()
    optimizer = build_optimizer(model, config, lambda name: 0.5 if "embed" in name else 1.0)
    expected = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    m = {name: np.zeros_like(value) for name, value in expected.items()}
    for t in range(1, 6):
        step_with(model, optimizer, t)
        for name, parameter in model.named_parameters():
            decay = 0.1 if "weight" in name and "norm" not in name else 0
            m[name] = momentum * m[name] + parameter.grad.numpy() + decay * expected[name]
            expected[name] = expected[name] - (0.005 if "embed" in name else 0.01) * m[name]
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(
            parameter.detach().numpy(), expected[name], rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_a_run_with_sgd_is_learned_and_resumed_bit_for_bit(tmp_path, momentum):
    config = replace(toy.CONFIG, optimizer="sgd", learning_rate=0.3, momentum=momentum)
    _, result = toy.run(tmp_path / "whole", config)
    assert result.last["accuracy"] > 0.9
    with pytest.raises(KeyboardInterrupt):
        toy.run(tmp_path / "run", config, batches=toy.stopping(signal.SIGINT, 12))
    toy.run(tmp_path / "run", config, resume=True)
    toy.assert_same_run(tmp_path / "whole", tmp_path / "run")
    with pytest.raises(UserError, match="momentum"):
        toy.run(tmp_path / "run", replace(config, momentum=0.5), resume=True)


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


SHARES = {"embed": 0.0, "norm": 0.5, "hidden": 0.5, "classify": 1.0}


def multipliers(name):
    return SHARES[name.partition(".")[0]]


def test_multipliers_equal_groups_made_by_hand(tmp_path):
    """Against torch.optim.AdamW with a group for each rate and decay, and nothing of the frozen."""
    config = replace(toy.CONFIG, steps=6, clip_norm=0.3, weight_decay=0.3)
    model = toy.Model(0).double()
    found, _ = toy.run(tmp_path / "run", config, model=model, lr_multipliers=multipliers)
    model = toy.Model(0).double()
    start = copy.deepcopy(model.state_dict())
    model.embed.requires_grad_(False)
    groups = [
        (
            {"params": [model.norm.weight, model.norm.bias, model.hidden.bias], "weight_decay": 0},
            0.5,
        ),
        ({"params": [model.hidden.weight], "weight_decay": 0.3}, 0.5),
        ({"params": [model.classify.bias], "weight_decay": 0}, 1.0),
        ({"params": [model.classify.weight], "weight_decay": 0.3}, 1.0),
    ]
    optimizer = torch.optim.AdamW([g for g, _ in groups], 0.0, config.betas, config.eps)
    trained = [p for group, _ in groups for p in group["params"]]
    for step in range(config.steps):
        ids = torch.cat([batch.input_ids for batch in toy.batches(step)])
        ids = ids[ids % 3 == 0]
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(ids), ids % 2).backward()
        nn.utils.clip_grad_norm_(trained, 0.3)
        for group, (_, share) in zip(optimizer.param_groups, groups, strict=True):
            group["lr"] = share * learning_rate(config, step)
        optimizer.step()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], tensor, rtol=1e-6, atol=1e-9)
    assert found.embed.weight.equal(start["embed.weight"])
    assert found.embed.weight.grad is None and not found.embed.weight.requires_grad
    assert not found.hidden.weight.equal(start["hidden.weight"])


def test_what_is_frozen_is_not_in_the_optimizer():
    model = toy.Model()
    optimizer = build_optimizer(model, toy.CONFIG, multipliers)
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    wanted = [id(p) for name, p in model.named_parameters() if not name.startswith("embed")]
    assert sorted(held) == sorted(wanted)
    with pytest.raises(UserError, match="every parameter is frozen"):
        build_optimizer(model, toy.CONFIG, lambda name: 0.0)


def test_a_tied_parameter_is_counted_once_and_goes_by_its_first_name():
    model = toy.Model()
    model.decoder = nn.Linear(64, 20, bias=False)
    model.decoder.weight = model.embed.weight
    optimizer = build_optimizer(model, toy.CONFIG, lambda n: 0.25 if n == "embed.weight" else 1.0)
    quarter = [p for g in optimizer.param_groups if g["lr_multiplier"] == 0.25 for p in g["params"]]
    assert len(quarter) == 1 and quarter[0] is model.embed.weight
    count = sum(len(group["params"]) for group in optimizer.param_groups)
    assert count == len(list(model.parameters()))


def test_a_run_with_multipliers_is_resumed_bit_for_bit(tmp_path):
    toy.run(tmp_path / "whole", lr_multipliers=multipliers)

    def batches(step):
        if step == 12:
            os.kill(os.getpid(), signal.SIGINT)
        return toy.batches(step)

    with pytest.raises(KeyboardInterrupt):
        toy.run(tmp_path / "parts", batches=batches, lr_multipliers=multipliers)
    toy.run(tmp_path / "parts", lr_multipliers=multipliers, resume=True)
    toy.assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_decay_falls_on_the_parameters_that_transformers_lets_it_fall_on():
    """By the trainer of transformers: no bias and no LayerNorm."""
    from transformers import BertConfig, BertForSequenceClassification, Trainer

    from plainformer.encoder import SequenceClassifier
    from plainformer.encoder.weights.bert import BERT

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 64, "vocab_size": 50}
    theirs = BertForSequenceClassification(BertConfig(**sizes))
    model = SequenceClassifier(replace(BERT.defaults, **sizes))
    optimizer = build_optimizer(model, replace(toy.CONFIG, weight_decay=0.1))
    decayed = {id(p) for g in optimizer.param_groups if g["weight_decay"] for p in g["params"]}
    names = {
        their_name
        for name, parameter in model.named_parameters()
        if id(parameter) in decayed
        for their_name in BERT.hf_names(name, "SequenceClassifier")
    }
    assert names == set(Trainer.get_decay_parameter_names(None, theirs))
