"""AdaLoRA: each step is that of peft, regulariser, ranks and all; read by peft, and from it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from plainformer.base import UserError
from plainformer.encoder import SequenceClassifier
from plainformer.finetune import TuningOptions
from plainformer.finetune.tuning import (
    RankAllocator,
    add_adalora,
    add_tensors,
    merge_added,
    save_adapter,
    trained_parameters,
)
from plainformer.finetune.tuning.adalora import AdaLoraLinear
from plainformer.finetune.tuning.rank_allocation import additions, importance
from tests.encoder.families import OURS, inputs, pair, rotate_without_rounding, their_class
from tests.encoder.tools import assert_close, assert_relative, bert, modern, padded, randomise
from tests.finetune.test_adapter import compare
from tests.finetune.test_lora import THEIR_TARGETS, drawn

peft = pytest.importorskip("peft")

STEPS, RANK, FIRST = 20, 2, 3
EPSILON = 1e-5  # which peft adds to the rank
TARGETS = ("query", "value", "output", "down")


@pytest.fixture(autouse=True)
def unrounded(monkeypatch: pytest.MonkeyPatch) -> None:
    rotate_without_rounding(monkeypatch)


def test_each_step_is_that_of_peft(tmp_path: Path) -> None:
    """Gradients of loss and regulariser, budget, scores and dropped triplets, for a whole run."""
    theirs, ours = pair("bert", "SequenceClassifier", tmp_path)
    settings = peft.AdaLoraConfig(
        task_type="SEQ_CLS",
        init_r=FIRST,
        target_r=RANK,
        lora_alpha=5,
        target_modules=THEIR_TARGETS["bert"],
        tinit=2,
        tfinal=10,
        total_step=STEPS,
    )
    theirs = peft.get_peft_model(theirs, settings).double().eval()
    add_adalora(ours.double(), RANK, 5 * FIRST / (FIRST + EPSILON), TARGETS)
    matched = matches(ours, theirs.base_model.model)
    assert len(matched) == 8 * 3
    with torch.no_grad():
        for _, mine, other in matched:
            mine.copy_(other.view_as(mine))
    ranks, allocator = RankAllocator(ours, RANK, STEPS), theirs.base_model.rankallocator
    batch, labels = inputs("bert"), torch.tensor([0, 2, 1, 0, 1])
    dropped = []
    for step in range(1, STEPS + 1):
        nn.functional.cross_entropy(ours(**batch), labels).backward()
        theirs(**batch, labels=labels).loss.backward()
        ranks.before(ours, step - 1)
        for _, mine, other in matched:
            assert mine.grad is not None and other.grad is not None
            assert_relative(mine.grad, other.grad.view_as(mine), 1e-8)
            with torch.no_grad():
                mine -= 0.5 * mine.grad
                other -= 0.5 * other.grad
            mine.grad = None
        theirs.base_model.update_and_allocate(step)
        theirs.zero_grad()
        ranks.after(ours, step)
        for _, mine, other in matched:
            assert_close(mine, other.view_as(mine), 1e-9)
        dropped.append(sum(int((layer.e[part] == 0).sum()) for layer, part in additions(ours)))
        if step < STEPS - 10:  # then peft forgets them, and we keep them
            expected = means(allocator, matched)
        for mine, other in zip(means(ours, matched), expected, strict=True):
            assert_relative(mine, other, 1e-8)
    assert dropped[:2] == [0, 0] and dropped[9:] == [8] * 11 and 0 < dropped[4] < 8
    assert len({tuple((layer.e[part] != 0).tolist()) for layer, part in additions(ours)}) > 1


def matches(ours: Any, theirs: Any) -> list[tuple[str, nn.Parameter, nn.Parameter]]:
    """The λ, Q and P of each addition: the name of peft, our parameter, and theirs."""
    places = {"down": "output.dense", "output": "attention.output.dense"}
    named, found = dict(theirs.named_parameters()), []
    for path, layer in ours.named_modules():
        for part in layer.parts if isinstance(layer, AdaLoraLinear) else ():
            place = places.get(part, f"attention.self.{part}")
            for kind, matrices in (("E", layer.e), ("A", layer.a), ("B", layer.b)):
                name = f"bert.encoder.layer.{path.split('.')[2]}.{place}.lora_{kind}.default"
                found.append((name, matrices[part], named[name]))
    return found


def means(model: Any, matched: Any) -> list[torch.Tensor]:
    """The running means of our model, or of the allocator of peft, addition by addition."""
    if isinstance(model, nn.Module):
        found = [importance(layer, part) for layer, part in additions(model)]
        return [mean.clone() for one in found for mean in (one.mean, one.deviation)]
    names = [name for name, _, _ in matched]
    return [
        torch.cat([of[e], of[a], of[b].T], 1)
        for e, a, b in zip(names[::3], names[1::3], names[2::3], strict=True)
        for of in (model.exp_avg_ipt, model.exp_avg_unc)
    ]


def dropped(model: Any) -> Any:
    """Give the added parameters random values, and set some λ to 0, in one place all."""
    drawn(model)
    with torch.no_grad():
        for number, (layer, part) in enumerate(additions(model)):
            layer.e[part][: number % 3 if number else None] = 0
    return model


@pytest.mark.parametrize("config", [bert(), bert(share_layers=True), modern()])
def test_merged_it_computes_the_same(config: Any) -> None:
    model, batch = randomise(SequenceClassifier(config)).double(), padded([7, 3, 12])
    before = model(**batch)
    add_adalora(model, RANK, targets=("all",))
    assert_close(model(**batch), before, 1e-12)
    drawn(model)
    tuned = model(**batch)
    assert not tuned.allclose(before)
    unmerge = merge_added(model)
    assert_close(model(**batch), tuned, 1e-10)
    unmerge()
    assert model(**batch).equal(tuned)


@pytest.mark.parametrize(
    ("family", "head"),
    [("bert", "SequenceClassifier"), ("bert", "Encoder"), ("modernbert", "TokenClassifier")],
)
def test_peft_opens_our_folder_and_we_again(family: str, head: str, tmp_path: Path) -> None:
    _, ours = pair(family, head, tmp_path / "base")
    add_adalora(ours, RANK, 5, TARGETS)
    save_adapter(dropped(ours), tmp_path / "adapter", tmp_path / "base")
    base = their_class(family, head).from_pretrained(tmp_path / "base")
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").double().eval()
    compare(ours.double(), theirs, family, head)
    again = OURS[head].from_pretrained(tmp_path / "adapter", add=add_tensors).double()
    compare(again, theirs, family, head)


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_we_open_what_peft_saved(family: str, tmp_path: Path) -> None:
    pair(family, "SequenceClassifier", tmp_path / "base")
    theirs = their_class(family, "SequenceClassifier").from_pretrained(tmp_path / "base")
    settings = peft.AdaLoraConfig(
        task_type="SEQ_CLS",
        init_r=FIRST,
        lora_alpha=5,
        target_modules=THEIR_TARGETS[family],
        total_step=STEPS,
    )
    theirs = peft.get_peft_model(theirs, settings).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn_like(parameter)
    theirs.save_pretrained(tmp_path / "adapter")
    ours = SequenceClassifier.from_pretrained(tmp_path / "adapter", add=add_tensors)
    compare(ours.double(), theirs.double(), family, "SequenceClassifier")


def test_a_short_run_keeps_the_budget() -> None:
    for steps in (1, 2, 3, 7):
        model = SequenceClassifier(bert())
        add_adalora(model, RANK)
        ranks, count = RankAllocator(model, RANK, steps), len(additions(model))
        drawn(model)
        for step in range(1, steps + 1):
            model(**padded([3])).sum().backward()
            ranks.before(model, step - 1)
            model.zero_grad()
            ranks.after(model, step)
        left = sum(int((layer.e[part] != 0).sum()) for layer, part in additions(model))
        assert left == RANK * count
        ranks.finish(model)
        assert not any("importance" in name for name in model.state_dict())


def test_the_table_counts_its_running_means() -> None:
    lines = {}
    for name, options in (("lora", TuningOptions(lora=3)), ("adalora", TuningOptions(adalora=2))):
        model = SequenceClassifier(bert(hidden_size=128))
        options.apply(model)
        (line,) = (line for line in trained_parameters(model) if line.startswith("added"))
        count, memory = line.split()[2], line.split()[3]
        lines[name] = int(count.replace(",", "")), float(memory)
    # 3 triplets of each of 4 additions: a λ more than LoRA's; 5 numbers for each one, not 3.
    assert lines["adalora"][0] == lines["lora"][0] + 12
    assert lines["adalora"][1] == pytest.approx(5 / 3 * lines["lora"][1], abs=0.1)


def test_what_does_not_go_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rank must be at least 1"):
        add_adalora(SequenceClassifier(bert()), 0)
    with pytest.raises(UserError, match="lora and adalora each choose"):
        TuningOptions(lora=4, adalora=4)
    with pytest.raises(UserError, match="dora adds to lora"):
        TuningOptions(adalora=4, dora=True)
