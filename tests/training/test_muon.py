"""Muon against its definition by singular values, PyTorch's own, and a run that was cut in two."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from plainformer.training import TrainingConfig
from plainformer.training.muon import A, B, C, orthogonal
from plainformer.training.optimizer import build_optimizer
from tests.training import toy

CONFIG = replace(toy.CONFIG, optimizer="muon")


class Blocks(nn.Module):
    """Two linear blocks between an embedding and a list of classifiers, which are no blocks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(20, 16)
        self.blocks = nn.ModuleList([nn.Linear(16, 48), nn.Linear(48, 16)])
        self.classify = nn.ModuleList([nn.Linear(16, 2)])

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = torch.relu(block(x))
        return self.classify[0](x)


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 24, 8), (1, 8, 24), (3, 6, 10)])
def test_iterations_change_singular_values_alone(shape):
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    s = s / s.norm(dim=-1, keepdim=True)
    for _ in range(5):
        s = A * s + B * s**3 + C * s**5
    torch.testing.assert_close(orthogonal(x), u @ torch.diag_embed(s) @ vt)
    assert s.min() > 0.6
    assert s.max() < 1.3


def test_steps_equal_the_formula():
    config = TrainingConfig(optimizer="muon", matrix_learning_rate=0.01, weight_decay=0.1)
    model = Blocks().double()
    optimizer = build_optimizer(model, config)
    matrix = model.blocks[0].weight
    expected, momentum = matrix.detach().clone(), torch.zeros_like(matrix)
    for seed in range(4):
        torch.manual_seed(seed)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        gradient = matrix.grad
        momentum = 0.95 * momentum + gradient
        direction = np.sqrt(48 / 16) * orthogonal((gradient + 0.95 * momentum)[None])[0]
        expected = expected - 0.01 * (0.1 * expected + direction)
        optimizer.step()
    torch.testing.assert_close(matrix.detach(), expected)


class Fused(nn.Linear):
    """Three matrices in one layer."""

    fused_parts = ("a", "b", "c")


class FusedAndApart(nn.Module):
    """Three matrices in one layer, and beside it the three."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Fused(6, 24), *(nn.Linear(6, 8) for _ in range(3))])


def test_each_of_fused_matrices_takes_a_step_of_its_own():
    model = FusedAndApart().double()
    optimizer = build_optimizer(model, CONFIG)
    one, *three = [layer.weight for layer in model.blocks]
    for seed in range(2):
        torch.manual_seed(seed)
        with torch.no_grad():
            one.grad = torch.randn_like(one)
            for matrix, part, own in zip(three, one.grad.chunk(3), one.chunk(3), strict=True):
                matrix.grad = part.clone()
                matrix.copy_(own)
        optimizer.step()
        torch.testing.assert_close(one, torch.cat(three))


def test_all_but_the_matrices_of_blocks_go_by_adamw():
    one, two = Blocks(), Blocks()
    muon = build_optimizer(one, CONFIG)
    adamw = build_optimizer(two, toy.CONFIG)
    for model, optimizer in ((one, muon), (two, adamw)):
        for seed in range(3):
            torch.manual_seed(seed)
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()
    differing = {
        name
        for (name, a), b in zip(one.named_parameters(), two.parameters(), strict=True)
        if not a.equal(b)
    }
    assert differing == {"blocks.0.weight", "blocks.1.weight"}


def test_agrees_with_pytorch():
    """PyTorch's is in bf16: its steps are ours to a few per cent."""
    model = Blocks()
    ours = build_optimizer(model, replace(CONFIG, matrix_learning_rate=0.01, weight_decay=0.1))
    matrix = model.blocks[0].weight
    theirs = nn.Parameter(matrix.detach().clone())
    reference = torch.optim.Muon([theirs], 0.01, 0.1, adjust_lr_fn="original")
    start = matrix.detach().clone()
    for seed in range(3):
        torch.manual_seed(seed)
        matrix.grad = torch.randn_like(matrix)
        theirs.grad = matrix.grad.clone()
        ours.step()
        reference.step()
    apart = (matrix - theirs).norm() / (matrix - start).norm()
    assert apart < 0.03


def test_a_resumed_run_is_the_same(tmp_path):
    config = replace(CONFIG, checkpoint_every=15)
    toy.run(tmp_path / "whole", config, model=Blocks())
    toy.run(tmp_path / "cut", config, model=Blocks())
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "step-00000040")
    _, result = toy.run(tmp_path / "cut", config, model=Blocks(), resume=True)
    assert result.steps == 40
    toy.assert_same_run(tmp_path / "whole", tmp_path / "cut")
