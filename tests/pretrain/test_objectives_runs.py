"""Whole runs with each objective: named metrics, folders that open, and a resume that is exact."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from plainformer.base import UserError
from plainformer.encoder import Discriminator, MaskedLM, PairedMaskedLM, SequenceClassifier
from plainformer.pretrain import MaskedBatches, PretrainConfig, pretrain
from plainformer.tokenizer import load_tokenizer
from plainformer.training import TrainingConfig
from tests.pretrain import tiny

BOTH = {"loss", "mlm_loss", "mlm_accuracy", "sop_loss", "sop_accuracy", "perplexity"}
FOUND = {"loss", "mlm_loss", "mlm_accuracy"}
FOUND |= {"rtd_loss", "rtd_accuracy", "rtd_replaced", "rtd_found"}
TOKENS, PAIRS = {"loss", "accuracy", "perplexity"}, {"loss", "accuracy"}
RUNS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "mlm": ({"masking": "spans", "mask_ratio": 0.4, "mask_ratio_end": 0.1}, TOKENS),
    "clm": ({}, TOKENS),
    "denoise": ({"masking": "words"}, TOKENS),
    "rtd": ({"preset": "electra-speck", "generator_share": 0.5}, FOUND),
    "nsp": ({"preset": "bert-speck"}, PAIRS),
    "sop": ({"preset": "albert-speck"}, PAIRS),
    "mlm sop": ({"preset": "bert-speck", "accumulate": 2}, BOTH),
    "teacher": ({"objective": ("mlm",)}, TOKENS),
}


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> PretrainConfig:
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy.txt").write_text("\n".join(tiny.sentences(120)))
    tiny.make_tokenizer().save(folder / "tokenizer")
    tiny.save_untrained(folder / "teacher", "bert", load_tokenizer(folder / "tokenizer"))
    return PretrainConfig(
        corpus=(str(folder / "toy.txt"),),
        tokenizer=folder / "tokenizer",
        out=folder / "run",
        preset=tiny.PRESET,
        max_length=32,
        batch_tokens=256,
        valid_share=0.1,
        training=TrainingConfig(
            steps=7, learning_rate=1e-2, eval_every=3, checkpoint_every=3, device="cpu"
        ),
    )


def run(name: str, config: PretrainConfig, out: Path, **changes: Any) -> PretrainConfig:
    """The configuration of a run by this name."""
    settings = dict(RUNS[name][0])
    if name == "teacher":
        settings["teacher"] = config.tokenizer.parent / "teacher"
    return replace(config, out=out, **{"objective": tuple(name.split()), **settings, **changes})


@pytest.mark.parametrize("name", RUNS)
def test_a_broken_run_goes_on_as_if_it_had_not_been(name, config, tmp_path, monkeypatch):
    whole = run(name, config, tmp_path / "whole")
    pretrain(whole, quiet=True)
    rows = [json.loads(line) for line in (whole.out / "log.jsonl").read_text().splitlines()]
    evaluations = [row["evaluation"] for row in rows if "evaluation" in row]
    assert set(evaluations[-1]) == RUNS[name][1]
    best = min(evaluations, key=lambda metrics: metrics["loss"])
    assert json.loads((whole.out / "metrics.json").read_text())["held_out"] == best
    extra = {"hard", "soft"} if name == "teacher" else set()
    assert (RUNS[name][1] | extra) - {"perplexity"} <= set(rows[0])
    tensors = load_file(whole.out / "checkpoints" / "step-00000007" / "model.safetensors")
    assert not [key for key in tensors if "teacher" in key]

    broken = run(name, config, tmp_path / "broken")
    call = MaskedBatches.__call__

    def stops(self: MaskedBatches, step: int) -> Any:
        if step == 5:
            raise KeyboardInterrupt
        return call(self, step)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MaskedBatches, "__call__", stops)
        pretrain(broken, quiet=True)
    assert not (broken.out / "model.safetensors").exists()
    pretrain(replace(broken, resume=True), quiet=True)
    for file in ("model.safetensors", "log.jsonl", "metrics.json"):
        assert (whole.out / file).read_bytes() == (broken.out / file).read_bytes(), file


def short(config: PretrainConfig, name: str, out: Path, **changes: Any) -> PretrainConfig:
    training = replace(config.training, steps=2, eval_every=0, checkpoint_every=0)
    return run(name, config, out, training=training, **changes)


@pytest.mark.parametrize(
    ("name", "cls", "theirs"),
    [
        ("mlm sop", PairedMaskedLM, "BertForPreTraining"),
        ("sop", PairedMaskedLM, "AlbertForPreTraining"),
        ("rtd", Discriminator, "ElectraForPreTraining"),
    ],
)
def test_the_folder_opens_in_transformers(name, cls, theirs, config, tmp_path):
    import transformers

    pretrain(short(config, name, tmp_path), quiet=True)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [theirs]
    text = ("the red cat", "eats the red fish .")
    other = transformers.AutoModelForPreTraining.from_pretrained(tmp_path).eval()
    assert type(other).__name__ == theirs
    inputs = transformers.AutoTokenizer.from_pretrained(tmp_path)(*text, return_tensors="pt")
    batch = load_tokenizer(tmp_path).batch([text])
    with torch.no_grad():
        wanted, got = other(**inputs)[0], cls.from_pretrained(tmp_path)(**batch)
    got = got[0] if isinstance(got, tuple) else got
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    classifier = SequenceClassifier.from_pretrained(tmp_path, labels=["a", "b"])
    assert not [n for n in classifier.newly_initialised if n.startswith("encoder.")]
    if name == "rtd":
        generator = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "generator")
        with torch.no_grad():
            mine = MaskedLM.from_pretrained(tmp_path / "generator")(**batch)
            torch.testing.assert_close(
                mine, generator.eval()(**inputs).logits, rtol=1e-4, atol=1e-5
            )
        assert load_tokenizer(tmp_path / "generator").vocab_size == generator.config.vocab_size


def test_held_out_text_is_measured_alike_however_one_trains(config, tmp_path):
    """Other masks, another ratio, a teacher: the same held-out loss before anything is learned."""
    lazy = replace(config.training, steps=1, learning_rate=1e-12, eval_every=0)
    losses = set()
    for number, changes in enumerate(
        (
            {},
            {"masking": "spans", "mask_ratio": 0.5},
            {"teacher": config.tokenizer.parent / "teacher", "temperature": 4.0},
        )
    ):
        out = tmp_path / str(number)
        losses.add(pretrain(replace(config, out=out, training=lazy, **changes), True).last["loss"])
    assert max(losses) - min(losses) < 1e-6


def test_steps_that_come_of_a_budget_are_those_of_the_ratio(config, tmp_path, monkeypatch):
    """The share of masked tokens reaches its end at the last step, however many there are."""
    monkeypatch.setattr("plainformer.pretrain.plan.seconds_per_step", lambda *_: 0.5)
    asked: list[float] = []
    call = MaskedBatches.__call__

    def watched(self: MaskedBatches, step: int) -> Any:
        batches = call(self, step)
        asked.append(sum(len(b.labels) for b in batches) / sum(b.num_tokens for b in batches))
        return batches

    monkeypatch.setattr(MaskedBatches, "__call__", watched)
    training = replace(config.training, eval_every=0, checkpoint_every=0)
    timed = run("mlm", config, tmp_path, mask_ratio=0.6, mask_ratio_end=0.1, masking="tokens")
    # An evaluation of few tokens, and time enough for planning on a busy machine.
    timed = replace(timed, valid_tokens=1, training=training)
    steps = pretrain(replace(timed, budget="12s"), quiet=True).steps
    assert 4 <= steps <= 24
    train = asked[-steps:]
    assert train[0] > 0.4 and train[-1] < 0.2


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"objective": ()}, "objective must be one of .*, not nothing"),
        ({"objective": ("mlm", "clm")}, "objective must be one of .*, not mlm clm"),
        ({"objective": ("nsp", "sop")}, "not nsp sop"),
        ({"objective": ("mlm", "mlm")}, "not mlm mlm"),
        ({"objective": ("rtd", "sop")}, "not rtd sop"),
        ({"objective": ("clm", "nsp")}, "not clm nsp"),
        (
            {"objective": ("clm",), "teacher": Path("t")},
            "teacher is an option of mlm, not of clm",
        ),
        ({"objective": ("sop",), "max_length": 4}, "max_length must be at least 5 for sop"),
        ({"objective": ("mlmm",)}, "objective must be one of .* not 'mlmm'; did you mean mlm"),
        ({"objective": ("mlm", "nsp"), "teacher": Path("t")}, "teacher is an .* not .* mlm nsp"),
        (
            {"objective": ("clm",), "mask_ratio": 0.3},
            "mask_ratio is an option of mlm, denoise",
        ),
        ({"objective": ("nsp",), "masking": "words"}, "masking is an option of mlm, denoise, rtd"),
        ({"generator_share": 0.5}, "generator_share is an option of rtd, not of mlm: leave it out"),
        ({"temperature": 1.0}, "temperature is for distillation: give the folder of a teacher"),
        ({"mask_ratio_end": 1.0}, "mask_ratio_end must be between 0 and 1, not 1.0"),
        ({"generator_share": 0.0}, "generator_share must be above 0"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"soft_share": 1.1}, "soft_share must be from 0 to 1"),
    ],
)
def test_options_that_contradict_each_other(config, changes, fault):
    with pytest.raises(UserError, match=fault):
        replace(config, **changes)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"objective": ("rtd",)}, "has no discriminator: for rtd choose a preset electra-tiny"),
        ({"objective": ("mlm", "sop")}, "has no head for pairs: for sop choose a preset bert-tiny"),
        ({"objective": ("nsp",), "preset": "electra-speck"}, "has no head for pairs"),
        ({"teacher": Path("nowhere")}, "there is no folder nowhere"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(config, tmp_path, changes, fault):
    with pytest.raises(UserError, match=fault):
        pretrain(replace(config, out=tmp_path / "run", **changes), quiet=True)
    assert not (tmp_path / "run").exists()


def test_texts_of_one_token_have_no_order(config, tmp_path):
    (tmp_path / "short.txt").write_text("".join(f"{word}\n" for word in [".", "a", "b"] * 40))
    lonely = short(config, "nsp", tmp_path / "run", corpus=(str(tmp_path / "short.txt"),))
    with pytest.raises(UserError, match="two documents of at least two tokens"):
        pretrain(replace(lonely, valid_share=0.5), quiet=True)
    with pytest.raises(UserError, match="held-out text is too short to measure on"):
        pretrain(replace(lonely, valid_share=0.5, objective=("sop",)), quiet=True)
