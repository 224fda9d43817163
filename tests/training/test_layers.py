"""Layers that keep nothing but their inputs, or are compiled, learn the same."""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from plainformer.training.parallel import layers_in_training
from tests.training import toy


class Deep(nn.Module):
    """Embedding, three blocks with dropout, and a classifier made of a list of two layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(20, 16)
        layer = lambda: nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Dropout(), nn.Linear(64, 16))  # noqa: E731
        self.blocks = nn.ModuleList(layer() for _ in range(3))
        self.classify = nn.ModuleList([nn.Linear(16, 16), nn.Linear(16, 2)])

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        for block in self.blocks:
            x = x + block(x)
        hidden, output = self.classify
        return output(torch.relu(hidden(x)))


def kept(model: nn.Module, recompute: bool) -> int:
    """Numbers that a forward pass keeps for the backward pass, inputs of layers not among them."""
    numbers = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal numbers
        numbers += tensor.numel()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        layers_in_training(model, compiled=False, recomputed=recompute),
    ):
        model(torch.arange(20).repeat(10))
    return numbers


def test_the_run_is_the_same(tmp_path):
    for recompute in (False, True):
        config = replace(toy.CONFIG, activation_checkpointing=recompute)
        model, _ = toy.run(tmp_path / str(recompute), config, model=Deep())
        assert not any("forward" in vars(module) for module in model.modules())
    toy.assert_same_run(tmp_path / "False", tmp_path / "True")


def test_a_list_of_modules_that_are_no_blocks_is_left_alone():
    model = Deep()
    with layers_in_training(model, compiled=False, recomputed=True):
        changed = [name for name, module in model.named_modules() if "forward" in vars(module)]
    assert changed == ["blocks.0", "blocks.1", "blocks.2"]


def test_less_is_kept():
    model = Deep()
    assert kept(model, recompute=True) < kept(model, recompute=False) / 4


def test_a_compiled_run_is_the_same(tmp_path, monkeypatch):
    """By the compiler's front end alone: its kernels may round otherwise."""
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    toy.run(tmp_path / "plain", model=Deep())
    toy.run(tmp_path / "compiled", replace(toy.CONFIG, compile=True), model=Deep())
    assert len(compiled) >= 1
    toy.assert_same_run(tmp_path / "plain", tmp_path / "compiled")
