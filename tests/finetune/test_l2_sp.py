"""The pull towards the pretrained weights, and layers that start anew."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from plainformer.base import UserError
from plainformer.encoder import Encoder, EncoderConfig, SequenceClassifier, TokenClassifier
from plainformer.finetune import RobustOptions, finetune
from plainformer.finetune.robust.l2_sp import PullToStart
from plainformer.finetune.robust.reinit import reinit_layers
from plainformer.finetune.run import build
from plainformer.finetune.tasks.classification import Classification
from plainformer.finetune.tasks.tagging.crf import ChainTagger
from plainformer.finetune.tuning import add_lora
from tests.finetune import gradients
from tests.finetune import test_distributed as distributed
from tests.finetune.test_robust import settings

TASK = Classification(labels=("x", "y"), max_length=32)


@pytest.mark.parametrize("architecture", ["bert", "modern"])
def test_the_hook_adds_the_gradient_of_the_penalty(models, architecture):
    model = SequenceClassifier.from_pretrained(models[architecture], labels=("a", "b", "c"))
    model = model.double()
    hook = PullToStart(model, strength=0.3, decay=0.2)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    frozen = model.base.blocks[0].attention.output.weight
    frozen.requires_grad_(False)
    model.zero_grad()
    batch = gradients.batch_of()
    own = gradients.TASK.loss(gradients.TASK.outputs(model, batch), batch).total
    own.backward()
    hook(model, 0)
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    penalty = torch.zeros((), dtype=torch.float64)
    assert model.newly_initialised
    for name, parameter in model.named_parameters():
        if name not in found:
            continue
        if name.startswith("encoder.") and name not in model.newly_initialised:
            penalty = penalty + 0.3 / 2 * (parameter - start[name]).square().sum()
        elif parameter.ndim == 2:
            penalty = penalty + 0.2 / 2 * parameter.square().sum()
    own = gradients.TASK.loss(gradients.TASK.outputs(model, batch), batch).total
    _, wanted = gradients.of_tensor(model, own + penalty)
    assert frozen.grad is None and found.keys() == wanted.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-6, atol=1e-6, msg=name)


def test_a_strong_pull_keeps_the_encoder_and_frees_the_head(models, files, tmp_path):
    """With the same steps, the encoder stays nearer to its start."""
    distances = []
    for strength in (0.0, 100.0):
        out = tmp_path / f"run-{strength}"
        config = settings(models, files, out, l2_sp=strength)
        config = replace(config, select=False, epochs=4.0)
        finetune(config, quiet=True)
        before, after = (
            load_file(config.model / "model.safetensors"),
            load_file(out / "model.safetensors"),
        )
        shared = [name for name in before if name in after and "encoder.layer" in name]
        assert shared
        distances.append(sum(float((before[n] - after[n]).square().sum()) for n in shared))
        if strength:
            assert any("classifier" in name for name in after)
    assert distances[1] < 0.5 * distances[0]


@pytest.mark.parametrize("architecture", ["bert", "modern"])
def test_only_the_top_layers_start_anew(models, files, tmp_path, architecture):
    config = replace(settings(models, files, tmp_path), model=models[architecture])
    layers = len(Encoder.from_pretrained(models[architecture]).blocks)
    plain = build(TASK, config).state_dict()
    once = replace(config, robust=RobustOptions(reinit_layers=1))
    model = build(TASK, once)
    changed = {name for name, t in model.state_dict().items() if not torch.equal(t, plain[name])}
    top = f"encoder.blocks.{layers - 1}."
    assert {name for name in changed if "norm" not in name and name.endswith("weight")}
    assert all(name.startswith((top, "encoder.pooler")) for name in changed)
    matrices = {n for n, p in model.named_parameters() if n.startswith(top) and p.ndim == 2}
    assert matrices <= changed and matrices <= set(model.newly_initialised)
    spread = model.get_parameter(f"{top}attention.output.weight").std().item()
    assert 0.2 < spread / model.config.initializer_range < 1.3
    again = build(TASK, once).state_dict()
    assert all(torch.equal(t, again[name]) for name, t in model.state_dict().items())


def test_layers_that_cannot_start_anew_are_refused(models, files, tmp_path):
    model = build(TASK, settings(models, files, tmp_path))
    before = {name: t.clone() for name, t in model.state_dict().items()}
    with pytest.raises(UserError, match="reinit_layers 9 is more than the 1 of this model"):
        reinit_layers(model, 9)
    with pytest.raises(UserError, match="share one block"):
        reinit_layers(
            SequenceClassifier(EncoderConfig.preset("albert-speck", vocab_size=60), ("a", "b")), 1
        )
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


def test_a_resumed_run_is_pulled_to_the_same_start(models, files, tmp_path):
    config = settings(models, files, tmp_path / "run", l2_sp=1.0, reinit_layers=1)
    finetune(config, quiet=True)
    resumed = distributed.begun(config.out, tmp_path / "resumed", 4)
    finetune(replace(config, out=resumed, resume=True), quiet=True)
    for name in ("model.safetensors", "log.jsonl", "metrics.json"):
        assert (resumed / name).read_bytes() == (config.out / name).read_bytes(), name


@pytest.mark.parametrize("architecture", ["bert", "modern"])
def test_fresh_layers_are_trained_under_a_tuned_encoder_with_a_crf_too(models, architecture):
    tagger = TokenClassifier.from_pretrained(models[architecture], labels=("O", "B-x", "I-x"))
    model = ChainTagger(tagger)
    reinit_layers(model, 1)
    add_lora(model, 2)
    top = model.base.blocks[-1]
    assert all(weight.requires_grad for weight in top.feed_forward.parameters())
    layer = f"blocks.{len(model.base.blocks) - 1}.feed_forward.down.weight"
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert any(name.endswith(layer) for name in trained)
