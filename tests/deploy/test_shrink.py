"""Smaller models: parts without weight change nothing, and what is kept is what was measured."""

import copy
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from plainformer.base import UserError
from plainformer.deploy.opened import Opened
from plainformer.deploy.shrink import (
    ShrinkOptions,
    by_gradient,
    by_magnitude,
    prune_heads,
    prune_layers,
    prune_units,
    prune_weights,
    shrink,
)
from plainformer.deploy.shrink.folder import quantise_on
from plainformer.deploy.shrink.prune import best_in_order
from plainformer.encoder import Encoder, SequenceClassifier, quantize_int8
from plainformer.finetune import FinetuneConfig, Predictor, evaluate_folder, finetune
from plainformer.finetune.data.batch import Batch
from plainformer.training import LoopConfig
from tests.encoder.tools import bert, modern, padded, randomise

CONFIGS = pytest.mark.parametrize("config", [bert(), modern()], ids=["bert", "modern"])


@pytest.fixture(scope="module")
def run(models, files, tmp_path_factory) -> Path:
    """A classifier that has learned its task."""
    out = tmp_path_factory.mktemp("shrink") / "run"
    loop = LoopConfig(learning_rate=1e-2, eval_every=0, checkpoint_every=0)
    config = FinetuneConfig(
        model=models["modern"], train=files("train"), valid=files("valid"), out=out, training=loop
    )
    finetune(config, quiet=True)
    return out


def states(model, batch=None) -> torch.Tensor:
    with torch.no_grad():
        return model(**(batch or padded([5, 9, 3]))).last_hidden_state


def gated(model, gates, doors, ways):
    """Multiply units by their gates, heads by their doors, and what a layer adds by its way."""

    def by_gate(gates):
        return lambda layer, inputs: (
            (inputs[0].unflatten(-1, (len(gates), -1)) * gates[:, None]).flatten(-2),
        )

    def by_way(number):
        return lambda block, x, y: (x[0] + ways[number] * (y[0] - x[0]), *y[1:])

    handles = []
    for number, block in enumerate(model.base.blocks):
        down = block.feed_forward.down
        output = block.attention.output
        handles.append(down.register_forward_pre_hook(by_gate(gates[number])))
        handles.append(output.register_forward_pre_hook(by_gate(doors[number])))
        handles.append(block.register_forward_hook(by_way(number)))
    return handles


@CONFIGS
def test_units_without_weight_are_removed_first_and_change_nothing(config):
    model = randomise(Encoder(config)).double().eval()
    size = config.intermediate_size
    for number, block in enumerate(model.blocks):
        dead = (torch.arange(size // 4) * 3 + number) % size
        layer = block.feed_forward
        for rows in (dead, dead + size) if config.gated else (dead,):
            layer.up.weight.data[rows] = 0.0
        layer.down.weight.data[:, dead] = 0.0
    before = states(model)
    prune_units(model, by_magnitude(model).units, 0.25)
    assert model.config.intermediate_size == size * 3 // 4
    assert_close(states(model), before, rtol=0, atol=1e-12)


@CONFIGS
def test_heads_without_weight_are_removed_first_and_change_nothing(config, tmp_path):
    model = randomise(Encoder(config)).double().eval()
    for number, block in enumerate(model.blocks):
        dead = torch.arange(8) + 8 * (number % 4)
        layer = block.attention
        layer.output.weight.data[:, dead] = 0.0
        layer.qkv.weight.data[torch.cat([dead, dead + 32, dead + 64])] = 0.0
    before = states(model)
    prune_heads(model, by_magnitude(model).heads, 0.25)
    assert (model.config.num_attention_heads, model.config.head_size) == (3, 8)
    assert_close(states(model), before, rtol=0, atol=1e-12)
    model.save_pretrained(tmp_path)
    loaded = Encoder.from_pretrained(tmp_path)
    assert loaded.config == model.config
    assert torch.equal(states(loaded), states(model.float()))
    with pytest.raises(UserError, match="its own bias by distance"):
        prune_heads(Encoder(bert(positions="alibi")), torch.ones(2, 4), 0.25)


def test_magnitude_is_the_norm_of_the_weights():
    model = randomise(Encoder(bert()))
    layer, found = model.blocks[1].feed_forward, by_magnitude(model)
    weights = torch.cat([layer.up.weight[7], layer.down.weight[:, 7]])
    assert_close(found.units[1, 7], weights.norm())
    layer, own = model.blocks[0].attention, slice(8, 16)
    qkv = layer.qkv.weight.view(3, 4, 8, 32)[:, 1].flatten()
    head = torch.cat([qkv, layer.output.weight[:, own].flatten()])
    assert_close(found.heads[0, 1], head.norm())
    own = [p.flatten() for n, p in model.blocks[1].named_parameters() if p.dim() == 2]
    assert_close(found.layers[1], torch.cat(own).norm())


def test_gradient_is_that_of_a_gate(run, files):
    """By hand, text by text: |∂L/∂g| of a gate g = 1 at each unit, and around each layer."""
    opened = Opened.of(run)
    task, model = opened.task, opened.model
    items = [item for _, item in opened.items(files("test"), ())][:6]
    found = by_gradient(task, model, items)
    size, layers = model.config.intermediate_size, len(model.base.blocks)
    units, heads, whole = torch.zeros(layers, size), torch.zeros(layers, 2), torch.zeros(layers)
    for item in items:
        batch = Batch.of([item])
        gates = torch.ones(layers, size, requires_grad=True)
        ways = torch.ones(layers, requires_grad=True)
        doors = torch.ones(layers, 2, requires_grad=True)
        handles = gated(model, gates, doors, ways)
        loss = task.loss(task.outputs(model, batch), batch)[0]
        by_unit, by_head, by_layer = torch.autograd.grad(loss, [gates, doors, ways])
        units, whole = units + by_unit.abs(), whole + by_layer.abs()
        heads = heads + by_head.abs()
        for handle in handles:
            handle.remove()
    assert_close(found.units, units, rtol=1e-4, atol=1e-6)
    assert_close(found.heads, heads, rtol=1e-4, atol=1e-6)
    assert_close(found.layers, whole, rtol=1e-4, atol=1e-6)


def test_layers_that_are_kept_are_a_model_of_their_own():
    model = randomise(Encoder(bert(num_hidden_layers=4))).eval()
    other = Encoder(bert(num_hidden_layers=2)).eval()
    state = model.state_dict()
    kept = prune_layers(model, torch.tensor([0.3, 2.0, 0.1, 1.0]), 2)
    assert kept == [1, 3]
    for new, old in enumerate(kept):
        for name in list(state):
            if name.startswith(f"blocks.{old}."):
                state[f"kept.{new}.{name.split('.', 2)[2]}"] = state.pop(name)
    state = {n.replace("kept.", "blocks."): t for n, t in state.items() if "blocks." not in n}
    other.load_state_dict(state)
    assert torch.equal(states(model), states(other))


def test_layers_keep_their_turns():
    """Of layers G l l G l l, with the first of them fixed, the places are G l l G."""
    model = randomise(Encoder(modern(num_hidden_layers=6, global_attn_every_n_layers=3))).eval()
    kept = prune_layers(model, torch.tensor([0.0, 1.0, 5.0, 2.0, 9.0, 7.0]), 3)
    assert kept == [0, 4, 5]
    assert states(model).shape[-1] == 32
    assert best_in_order([3, 1, 2], 2, lambda place, number: True) == [0, 2]


def test_zeros_are_the_smallest_weights():
    model = randomise(Encoder(bert()))
    before = torch.cat([p.flatten() for n, p in model.blocks.named_parameters() if p.dim() == 2])
    prune_weights(model, 0.5)
    after = torch.cat([p.flatten() for n, p in model.blocks.named_parameters() if p.dim() == 2])
    is_zero = after == 0
    assert is_zero.float().mean() == pytest.approx(0.5, abs=1e-4)
    assert before[is_zero].abs().max() < before[~is_zero].abs().min()
    assert after[~is_zero].equal(before[~is_zero])


def test_pruned_trained_and_opened_by_transformers(run, files, tmp_path):
    """The whole way; the printed scores are those of the folder, and transformers agrees."""
    transformers = pytest.importorskip("transformers")
    out = tmp_path / "small"
    options = ShrinkOptions(
        units=0.5, zeros=0.3, layers=1, train=files("train"), learning_rate=3e-3, weights="bf16"
    )
    before, after = shrink(run, files("test"), out, options, quiet=True)
    assert before.scores == evaluate_folder(run, files("test"), quiet=True).metric.scores()
    assert after.scores == evaluate_folder(out, files("test"), quiet=True).metric.scores()
    assert after.megabytes < before.megabytes and before.speed > 0
    ours = SequenceClassifier.from_pretrained(out)
    assert (ours.config.num_hidden_layers, ours.config.intermediate_size) == (1, 24)
    weights = [p for n, p in ours.base.blocks.named_parameters() if p.dim() == 2]
    zeros = sum(int((p == 0).sum()) for p in weights) / sum(p.numel() for p in weights)
    assert zeros == pytest.approx(0.3, abs=0.01)  # training did not fill them
    kind = transformers.AutoModelForSequenceClassification
    theirs = kind.from_pretrained(out, dtype=torch.float32).eval()
    batch = Opened.of(out).tokenizer.batch(["the red hen pecks the red corn .", "the owl"])
    inputs = {k: batch[k] for k in ("input_ids", "attention_mask")}
    with torch.no_grad():
        assert_close(ours(**inputs), theirs(**inputs).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("given", ["data", "train"])
def test_static_int8_is_the_run_rounded_on_its_texts(run, files, tmp_path, given):
    rounded = Opened.of(run)
    split = "train" if given == "train" else "test"
    quantise_on(rounded.model, [item for _, item in rounded.items(files(split), ())])
    train = files("train") if given == "train" else None
    options = ShrinkOptions(int8="static", train=train, tolerance=1.0)
    shrink(run, files("test"), tmp_path / "int8", options, quiet=True)
    loaded = Predictor.load(tmp_path / "int8")
    batch = Batch.of([item for _, item in rounded.items(files("test"), ())])
    with torch.no_grad():
        one, two = (loaded.task.outputs(m, batch) for m in (loaded.model, rounded.model))
    assert torch.equal(one, two)


def test_int8_is_the_rounded_run(run, files, tmp_path):
    rounded = copy.deepcopy(Opened.of(run))
    quantize_int8(rounded.model)
    options = ShrinkOptions(int8="dynamic", tolerance=1.0)
    shrink(run, files("test"), tmp_path / "int8", options, quiet=True)
    loaded = Predictor.load(tmp_path / "int8")
    batch = Batch.of([item for _, item in rounded.items(files("test"), ())])
    with torch.no_grad():
        one, two = (loaded.task.outputs(m, batch) for m in (loaded.model, rounded.model))
    assert torch.equal(one, two)
    shrink(run, files("test"), tmp_path / "w", ShrinkOptions(int8="weights", tolerance=1.0))
    with pytest.raises(UserError, match="in int8 already"):
        shrink(tmp_path / "int8", files("test"), tmp_path / "x", ShrinkOptions(units=0.1))


def test_a_loss_above_the_tolerance_leaves_nothing(run, files, tmp_path):
    seen = []
    with pytest.raises(UserError, match=r"accuracy fell from .* nothing is written"):
        shrink(run, files("test"), tmp_path / "out", ShrinkOptions(zeros=0.99), report=seen.append)
    assert not (tmp_path / "out").exists()
    assert len(seen) == 1


def test_what_cannot_be_done_is_said_before_any_work(run, models, tmp_path):
    for options, message in (
        ({}, "nothing to do"),
        ({"layers": 3}, "3 is more"),
    ):
        with pytest.raises(UserError, match=message):
            shrink(run, "no-such-file", tmp_path / "out", ShrinkOptions(**options))
    with pytest.raises(UserError, match="not fine-tuned"):
        shrink(models["bert"], "no-such-file", tmp_path / "out", ShrinkOptions(units=0.1))
    for options, message in (
        ({"units": 1.0}, "units must be"),
        ({"importance": "gradient", "units": 0.5}, "needs the examples of --train"),
        ({"importance": "magnitude", "zeros": 0.5}, "importance chooses layers, heads"),
        ({"train": "F", "weights": "bf16"}, "train follows"),
    ):
        with pytest.raises(UserError, match=message):
            ShrinkOptions(**options)
    assert not (tmp_path / "out").exists()
