"""Compiled layers: the same numbers, and after the first batches nothing is compiled again.

In a process of its own: the shape checks of the tests cannot be compiled.
"""

import pytest

from tests.encoder.tools import python

PROGRAM = """
from types import SimpleNamespace
import torch
from torch._dynamo.utils import counters
from plainformer.encoder import MaskedLM, Sequences
from plainformer.encoder.ops import fused
from plainformer.training.parallel import layers_in_training
from tests.encoder import flash_on_cpu
from tests.encoder.tools import assert_close, modern, randomise

flash_on_cpu.install()
on_gpu = {on_gpu}
fused.has_varlen = lambda x: fused._is_recent(x.device)
# As the function of torch, it cannot be compiled.
described = lambda device: SimpleNamespace(major=8 if on_gpu else 7)
torch.cuda.get_device_properties = torch.compiler.disable(described)
compile = torch.compile
torch.compile = lambda f, **settings: compile(f, backend="{backend}", **settings)
config = modern(attention_dropout={dropout})
model, plain = (randomise(MaskedLM(config, backend=b)) for b in ("fused", "plain"))
batches = [[15, 3], [19, 2, 2], [3, 3, 3, 3], [40, 30, 7, 1], [2]]
graphs = []
with layers_in_training(model, compiled=True, recomputed=False):
    for lengths in batches:
        sequences = Sequences.of(sorted(lengths))
        ids = torch.randint(4, config.vocab_size, (sum(lengths),))
        for train in (True, False):
            with torch.set_grad_enabled(train):
                y = model.train(train)(ids, sequences=sequences)
                expected = plain.train(train and {dropout} == 0)(ids, sequences=sequences)
                if train:
                    y.square().sum().backward()
                    expected.square().sum().backward()
                if not (train and {dropout}):
                    assert_close(y, expected, 1e-5)
            if train and not {dropout}:
                for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
                    assert_close(ours.grad, theirs.grad, 1e-4)
        graphs.append(counters["stats"]["unique_graphs"])
        model.zero_grad(), plain.zero_grad()
print(graphs, sum(counters["graph_break"].values()))
"""


def graphs(**choices: object) -> tuple[list[int], int]:
    """Graphs compiled so far, after each batch, and the number of breaks in them."""
    *counts, breaks = python(PROGRAM.format(**choices)).replace("[", "").replace("]", "").split()
    return [int(count.rstrip(",")) for count in counts], int(breaks)


def test_with_varlen_a_layer_is_one_graph() -> None:
    """A graph for each kind of layer (without a norm, local, global), in training and without."""
    counts, breaks = graphs(on_gpu=True, backend="eager", dropout=0.0)
    assert breaks == 0
    assert counts == [6] * 5


@pytest.mark.slow
def test_with_dropout_too() -> None:
    counts, breaks = graphs(on_gpu=True, backend="aot_eager", dropout=0.1)
    assert breaks == 0
    assert counts == [6] * 5


@pytest.mark.slow
def test_on_a_cpu_attention_is_left_out() -> None:
    counts, _ = graphs(on_gpu=False, backend="eager", dropout=0.0)
    assert len(set(counts[1:])) == 1
