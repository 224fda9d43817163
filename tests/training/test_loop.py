"""One run: what it computes, what it leaves behind and what it refuses."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from plainformer.base import UserError
from plainformer.training import TrainingConfig, evaluate
from plainformer.training.checkpoint import full_disk
from plainformer.training.curve import _smooth
from plainformer.training.device import autocast, choose_device
from tests.training import toy


def rows(out, *, evaluation=False):
    lines = [json.loads(line) for line in (out / "log.jsonl").open()]
    return [row for row in lines if ("evaluation" in row) == evaluation]


def test_learns_and_leaves_a_record(unbroken):
    log = rows(unbroken)
    assert [row["step"] for row in log] == list(range(1, 41))
    assert log[-1]["loss"] < 0.2 < 0.5 < log[0]["loss"]
    assert log[-1]["accuracy"] > 0.9
    assert [row["step"] for row in rows(unbroken, evaluation=True)] == [8, 16, 24, 32, 40]
    tokens = [sum(batch.num_tokens for batch in toy.batches(step)) for step in range(40)]
    assert [row["tokens"] for row in log] == np.cumsum(tokens).tolist()
    assert (unbroken / "curve.png").read_bytes().startswith(b"\x89PNG")
    speed = [json.loads(line) for line in (unbroken / "speed.jsonl").open()]
    assert speed[-1]["step"] == 40 and all(row["tokens_per_second"] > 0 for row in speed)
    assert not list(unbroken.glob(".*"))


def test_micro_batches_equal_one_large_batch(tmp_path):
    """Unequal in tokens and in labels; a wrong divisor shows in the clipped gradient's weights."""

    def joined(step):
        return [toy.Tokens(torch.cat([batch.input_ids for batch in toy.batches(step)]))]

    counts = [[toy.objective(toy.Model(), b).items for b in toy.batches(s)] for s in range(10)]
    assert all(one != other for one, other in counts[:2])
    config = replace(toy.CONFIG, steps=10)
    many, _ = toy.run(tmp_path / "many", config, model=toy.Model(0).double())
    one, _ = toy.run(tmp_path / "one", config, model=toy.Model(0).double(), batches=joined)
    for name, tensor in many.state_dict().items():
        torch.testing.assert_close(tensor, one.state_dict()[name], rtol=1e-9, atol=1e-9)
    for left, right in zip(rows(tmp_path / "many"), rows(tmp_path / "one"), strict=True):
        assert left == pytest.approx(right, rel=1e-9)


def test_a_step_is_clipped_mean_gradient_and_adamw(tmp_path):
    """Against PyTorch's own unfused optimizer and a mean taken by cross_entropy itself."""
    config = replace(toy.CONFIG, steps=5, schedule="constant", warmup=0.0, clip_norm=0.3)
    found, _ = toy.run(tmp_path / "run", config, model=toy.Model(0).double())
    model = toy.Model(0).double()
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices}, {"params": others, "weight_decay": 0}]
    optimizer = torch.optim.AdamW(
        groups, config.learning_rate, config.betas, config.eps, config.weight_decay, foreach=False
    )
    for step, row in enumerate(rows(tmp_path / "run")):
        ids = torch.cat([batch.input_ids for batch in toy.batches(step)])
        ids = ids[ids % 3 == 0]
        loss = nn.functional.cross_entropy(model(ids), ids % 2)
        optimizer.zero_grad()
        loss.backward()
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters()))
        for parameter in model.parameters():
            parameter.grad *= min(1, 0.3 / norm)
        optimizer.step()
        assert row["loss"] == pytest.approx(loss.item(), rel=1e-6)
        assert row["grad_norm"] == pytest.approx(norm, rel=1e-6)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, found.state_dict()[name], rtol=1e-5, atol=1e-7)


def test_evaluation_does_not_touch_the_run(tmp_path, unbroken):
    """Neither its randomness nor the mode it leaves the model in changes what is learned."""

    def intrusive(model):
        torch.randn(7)
        assert not model.training and not torch.is_grad_enabled()
        return toy.score(model)

    toy.run(tmp_path / "run", replace(toy.CONFIG, eval_every=1), evaluate=intrusive)
    assert rows(tmp_path / "run") == rows(unbroken)


def test_dropout_differs_by_step_and_seed(tmp_path):
    drawn = []

    def objective(model, batch):
        drawn.append(torch.rand(1).item())
        return toy.objective(model, batch)

    for seed in (1, 1, 2):
        config = replace(toy.CONFIG, steps=4, seed=seed)
        toy.run(tmp_path / str(len(drawn)), config, objective=objective, evaluate=None)
    assert drawn[:8] == drawn[8:16] and len(set(drawn)) == 16


def scripted(values):
    """An evaluation that gives `values` in turn, and the weights it saw."""
    seen = []

    def score(model):
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return {"score": values[len(seen) - 1]}

    return score, seen


@pytest.mark.parametrize(
    ("values", "higher", "best", "steps"),
    [
        ([3, 2, 1, 2, 2, 0, 0, 0], False, 3, 5),
        ([1, 3, 2, 3, 9, 9, 9, 9], True, 2, 4),
        ([math.nan, 5, math.nan, 6, 1, 1, 1, 1], False, 2, 4),
    ],
)
def test_best_weights_and_patience(tmp_path, values, higher, best, steps):
    score, seen = scripted([float(value) for value in values])
    config = replace(toy.CONFIG, steps=8, eval_every=1, patience=2)
    model, result = toy.run(
        tmp_path / "run", config, evaluate=score, monitor="score", higher_is_better=higher
    )
    assert (result.best_step, result.steps, result.stopped) == (best, steps, "patience")
    assert result.best == {"score": values[best - 1]}
    for name, tensor in model.state_dict().items():
        assert tensor.equal(seen[best - 1][name])


def test_without_monitor_the_last_weights_stay(tmp_path):
    score, seen = scripted([1.0, 2.0, 3.0])
    config = replace(toy.CONFIG, steps=3, eval_every=1)
    model, result = toy.run(tmp_path / "run", config, evaluate=score)
    assert result.best_step is None and result.last == {"score": 3.0}
    assert result.stopped == "finished" and not model.training
    for name, tensor in model.state_dict().items():
        assert tensor.equal(seen[2][name])


def test_the_last_checkpoints_and_the_best_are_kept(tmp_path):
    score, _ = scripted([1.0, *[2.0] * 7])
    config = replace(toy.CONFIG, steps=8, eval_every=1, checkpoint_every=2, keep=3)
    toy.run(tmp_path / "run", config, evaluate=score, monitor="score")
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["best", "step-00000004", "step-00000006", "step-00000008"]


def test_evaluation_helper_is_the_mean_over_all(tmp_path):
    model = toy.Model().train()
    ids = torch.cat(toy.HELD_OUT)
    ids = ids[ids % 3 == 0]
    found = toy.score(model)
    assert model.training
    model.eval()
    assert found["loss"] == pytest.approx(nn.functional.cross_entropy(model(ids), ids % 2).item())
    assert found["accuracy"] == pytest.approx((model(ids).argmax(-1) == ids % 2).double().mean())
    with pytest.raises(UserError, match="nothing to evaluate"):
        evaluate(model, toy.objective, [])


def test_tied_parameters_are_saved_once(tmp_path):
    class Tied(toy.Model):
        def __init__(self):
            super().__init__()
            self.decoder = nn.Linear(64, 20, bias=False)
            self.decoder.weight = self.embed.weight

    toy.run(tmp_path / "run", replace(toy.CONFIG, steps=5), model=Tied())
    model, _ = toy.run(tmp_path / "run", replace(toy.CONFIG, steps=5), model=Tied(), resume=True)
    assert model.decoder.weight is model.embed.weight
    alone, _ = toy.run(tmp_path / "alone", replace(toy.CONFIG, steps=5))
    assert model.embed.weight.equal(alone.embed.weight)


def test_a_step_without_labels_counts_nothing(tmp_path):
    def batches(step):
        return [toy.Tokens(torch.tensor([1, 2]))] if step == 1 else toy.batches(step)

    toy.run(tmp_path / "run", replace(toy.CONFIG, steps=3), batches=batches)
    log = rows(tmp_path / "run")
    assert log[1]["loss"] is None and log[1]["grad_norm"] == 0 and log[2]["loss"] > 0


def test_what_is_shown(tmp_path, capsys):
    toy.run(tmp_path / "quiet", replace(toy.CONFIG, steps=3))
    assert capsys.readouterr() == ("", "")
    toy.run(tmp_path / "loud", replace(toy.CONFIG, steps=3), quiet=False, label="reading")
    out, err = capsys.readouterr()
    assert out == "" and "reading 3/3  loss " in err and "tok/s" in err and "step 3: loss " in err


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match=r"cannot make the folder .*file"):
            toy.run(out)


def test_misuse(tmp_path):
    with pytest.raises(ValueError, match="monitor needs evaluate"):
        toy.run(tmp_path / "run", monitor="loss", evaluate=None)
    with pytest.raises(ValueError, match="patience needs a monitor"):
        toy.run(tmp_path / "run", replace(toy.CONFIG, patience=1))
    with pytest.raises(ValueError, match="no 'f1' among the evaluation's loss, accuracy"):
        toy.run(tmp_path / "run", monitor="f1")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("steps", 0), ("learning_rate", 0.0), ("warmup", 1.5), ("betas", (0.9, 1.0)), ("keep", 0)],
)
def test_settings_that_cannot_work(setting, value):
    with pytest.raises(UserError, match=f"^{setting} must be"):
        TrainingConfig(**{setting: value})


def test_overlapping_warmup_and_decay():
    with pytest.raises(UserError, match="warmup and decay"):
        TrainingConfig(schedule="wsd", warmup=0.6, decay=0.6)


def test_unknown_device():
    for name in ("quantum", "cuda:99"):
        with pytest.raises(UserError, match=f"no device '{name}'"):
            choose_device(name)


def test_precision_is_what_is_asked_for():
    cpu = torch.device("cpu")
    x = torch.ones(2, 2)
    for precision, dtype in (
        ("auto", torch.float32),
        ("fp32", torch.float32),
        ("bf16", torch.bfloat16),
        ("fp16", torch.float16),
    ):
        with autocast(cpu, precision):
            assert (x @ x).dtype == dtype


def test_no_space_left_on_a_device_without_space(tmp_path):
    with pytest.raises(UserError, match="No space left on device"), full_disk(tmp_path):
        Path("/dev/full").write_bytes(b"x" * 100_000)
    with pytest.raises(FileNotFoundError), full_disk(tmp_path):
        (tmp_path / "missing").read_bytes()


def test_smoothing_keeps_lines_and_length():
    line = np.linspace(3, 1, 500)
    smoothed = _smooth(line)
    np.testing.assert_allclose(smoothed[5:-5], line[5:-5])
    assert _smooth(np.array([2.0])).tolist() == [2.0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_on_a_gpu(tmp_path, precision):
    config = replace(toy.CONFIG, device="cuda", precision=precision)
    _, result = toy.run(tmp_path / "run", config)
    assert result.last["accuracy"] > 0.9
    short = tmp_path / "short"
    calls = 0

    def objective(model, batch):
        nonlocal calls
        calls += 1
        if calls > 24:
            raise RuntimeError("power cut")
        return toy.objective(model, batch)

    with pytest.raises(RuntimeError):
        toy.run(short, config, objective=objective)
    _, resumed = toy.run(short, config, resume=True)
    assert resumed.last["loss"] == pytest.approx(result.last["loss"], rel=1e-2)


def test_a_watcher_sees_each_evaluation_and_may_end_the_run(unbroken, tmp_path):
    seen = []

    def watch(step, metrics):
        seen.append((step, metrics))
        if step == 24:
            raise StopIteration

    with pytest.raises(StopIteration):
        toy.run(tmp_path / "run", toy.CONFIG, after_evaluation=watch)
    wanted = [(row["step"], row["evaluation"]) for row in rows(unbroken, evaluation=True)]
    assert [(step, dict(metrics)) for step, metrics in seen] == wanted[:3]
    assert len(rows(tmp_path / "run")) == 24
