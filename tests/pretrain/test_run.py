"""The first stage from end to end, on a toy language."""

import io
import json
import math
import shutil
import signal
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from plainformer.base import UserError
from plainformer.encoder import MaskedLM
from plainformer.pretrain import Corpus, PretrainConfig, prepare_corpus, read_shards
from plainformer.pretrain import pretrain as run
from plainformer.pretrain.data import unigram_entropy
from plainformer.pretrain.objectives import MaskedLMObjective, no_token_targets
from plainformer.pretrain.plateau import PlateauWatch
from plainformer.tokenizer import load_tokenizer
from plainformer.training import TrainingConfig
from tests.pictures import pictures
from tests.pretrain import tiny
from tests.processes import run_in_process

ROOT = Path(__file__).parents[2]
TRAINING = TrainingConfig(
    steps=210,
    learning_rate=2e-2,
    schedule="wsd",
    warmup=0.05,
    decay=0.4,
    eval_every=70,
    checkpoint_every=25,
)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> PretrainConfig:
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy.txt").write_text("\n".join(tiny.sentences(500)))
    tiny.make_tokenizer().save(folder / "tokenizer")
    return PretrainConfig(
        corpus=(str(folder / "toy.txt"),),
        tokenizer=folder / "tokenizer",
        out=folder / "run",
        preset=tiny.PRESET,
        max_length=32,
        batch_tokens=512,
        mask_ratio=0.3,
        valid_share=0.1,
        training=TRAINING,
    )


@pytest.fixture(scope="module")
def said() -> io.StringIO:
    """What the finished run wrote to the standard error."""
    return io.StringIO()


@pytest.fixture(scope="module")
def finished(config, said, one_thread) -> PretrainConfig:
    with redirect_stderr(said), pictures():
        run(config, quiet=True)
    return config


def short(config: PretrainConfig, out: Path, steps: int = 6, **changes) -> PretrainConfig:
    settings = replace(config.training, steps=steps, eval_every=0, checkpoint_every=0)
    return replace(config, out=out, **{"training": settings, **changes})


def assert_same_run(a: Path, b: Path) -> None:
    for name in ("model.safetensors", "log.jsonl", "metrics.json"):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


def test_everything_is_left_in_the_folder(finished):
    names = {path.name for path in finished.out.iterdir()}
    assert names >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "options.json",
        "metrics.json",
        "log.jsonl",
        "curve.png",
        "tokens",
        "checkpoints",
    }
    assert [name for name in names if name.startswith(".")] == [".plainformer"]
    assert (finished.out / "curve.png").read_bytes()[:4] == b"\x89PNG"


def test_context_is_learned(finished):
    """The loss is far below what a model without context can reach, and stands as reported."""
    tokenizer = load_tokenizer(finished.out)
    entropy = unigram_entropy(read_shards(finished.out / "tokens", tokenizer, "train"))
    metrics = json.loads((finished.out / "metrics.json").read_text())["held_out"]
    assert metrics["perplexity"] < math.exp(entropy) / 3
    assert metrics["perplexity"] == pytest.approx(math.exp(metrics["loss"]))
    last = json.loads((finished.out / "log.jsonl").read_text().splitlines()[-1])
    assert last["evaluation"] == metrics


def test_the_model_is_the_best_there_was(config, tmp_path):
    """A rate at which the loss goes up and down: the last weights are not the best."""
    settings = replace(TRAINING, steps=44, eval_every=4, schedule="constant", learning_rate=0.1)
    out = tmp_path / "run"
    run(replace(config, out=out, training=settings), quiet=True)
    rows = [json.loads(line) for line in (out / "log.jsonl").open()]
    evaluations = [row["evaluation"] for row in rows if "evaluation" in row]
    best = min(evaluations, key=lambda metrics: metrics["loss"])
    assert best != evaluations[-1]
    assert json.loads((out / "metrics.json").read_text())["held_out"] == best
    model = MaskedLM.from_pretrained(out).state_dict()
    for name, tensor in load_file(out / "checkpoints" / "best" / "model.safetensors").items():
        assert tensor.equal(model[name])


def test_the_folder_opens_in_transformers(finished):
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    text = "the red [MASK] eats the red fish ."
    theirs = AutoModelForMaskedLM.from_pretrained(finished.out)
    inputs = AutoTokenizer.from_pretrained(finished.out)(text, return_tensors="pt")
    ours = MaskedLM.from_pretrained(finished.out)
    batch = load_tokenizer(finished.out).batch([text])
    assert torch.equal(inputs["input_ids"], batch["input_ids"])
    with torch.no_grad():
        torch.testing.assert_close(ours(**batch), theirs(**inputs).logits, rtol=1e-4, atol=1e-4)


def test_a_killed_run_goes_on_as_if_it_had_not_been(finished, tmp_path):
    """Started from the options of the finished run, killed in its third epoch, resumed."""
    out = tmp_path / "killed"
    arguments = [str(finished.out / "options.json"), str(out)]
    code, output = run_in_process("tests.programs.killed_pretraining", arguments)
    assert code == -signal.SIGKILL, output
    assert (out / "checkpoints" / "step-00000050").is_dir()
    assert not (out / "model.safetensors").exists()
    run(replace(finished, out=out, resume=True), quiet=True)
    assert_same_run(finished.out, out)
    before, after = (json.loads((f / "options.json").read_text()) for f in (finished.out, out))
    assert {**before, "out": ""} == {**after, "out": ""}


def test_a_finished_run_resumes_to_itself(config, tmp_path):
    once = short(config, tmp_path / "run")
    first = run(once, quiet=True)
    weights = (once.out / "model.safetensors").read_bytes()
    again = run(replace(once, resume=True), quiet=True)
    assert again.last == first.last
    assert (once.out / "model.safetensors").read_bytes() == weights


def test_options_reproduce_the_run(config, tmp_path):
    from plainformer.options import load

    first = short(config, tmp_path / "a")
    run(first, quiet=True)
    saved = load(PretrainConfig, tmp_path / "a" / "options.json")
    assert saved == first
    run(replace(saved, out=tmp_path / "b"), quiet=True)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    run(replace(saved, out=tmp_path / "c", training=replace(saved.training, seed=1)), quiet=True)
    weights = [load_file(tmp_path / name / "model.safetensors") for name in "ac"]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_folder_with_a_run_is_left_alone(finished):
    before = {p: p.read_bytes() for p in finished.out.iterdir() if p.is_file()}
    with pytest.raises(UserError, match="already holds a run: --resume it"):
        run(replace(finished, max_length=12, training=replace(TRAINING, steps=3)), quiet=True)
    for changes, fault in (
        ({"max_length": 12}, "max_length=32, not 12"),
        ({"mask_ratio": 0.4}, "mask_ratio=0.3, not 0.4"),
        ({"corpus": ("other.txt",)}, "corpus="),
        ({"training": replace(TRAINING, learning_rate=1e-3)}, "learning_rate=0.02, not 0.001"),
    ):
        with pytest.raises(UserError, match=fault):
            run(replace(finished, resume=True, **changes), quiet=True)
    assert {p: p.read_bytes() for p in finished.out.iterdir() if p.is_file()} == before


def test_shards_of_an_earlier_start_are_not_taken_for_this_corpus(config, tmp_path, monkeypatch):
    out = tmp_path / "run"
    (tmp_path / "other.txt").write_text("\n".join(f"{s} the the" for s in tiny.sentences(500)))

    def fails(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(
            "plainformer.pretrain.datasets.unigram_entropy", fails
        )  # after the shards are written
        run(short(config, out, corpus=(str(tmp_path / "other.txt"),)), quiet=True)
    assert (out / "tokens").is_dir()
    run(short(config, out), quiet=True)
    run(short(config, tmp_path / "clean"), quiet=True)
    assert_same_run(out, tmp_path / "clean")


def test_a_fault_in_the_text_leaves_half_a_corpus_that_is_not_taken_for_a_whole(
    config, tmp_path, monkeypatch
):
    monkeypatch.setattr("plainformer.pretrain.corpus.prepare.SHARD_TOKENS", 1000)
    monkeypatch.setattr("plainformer.pretrain.corpus.prepare.WORK_UNIT", 100)
    (tmp_path / "a.txt").write_text("\n".join(tiny.sentences(200)))
    (tmp_path / "b.txt").write_bytes("the cat\nthe caf\xe9\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"b\.txt:2: byte 0xe9 is not UTF-8"):
        run(short(config, tmp_path / "run", corpus=(str(tmp_path / "*.txt"),)), quiet=True)
    assert (tmp_path / "run" / "tokens" / "train-00000.safetensors").exists()
    (tmp_path / "b.txt").write_text("the cat\nthe caf\xe9\n")
    for out in ("run", "clean"):
        run(short(config, tmp_path / out, corpus=(str(tmp_path / "*.txt"),)), quiet=True)
    assert_same_run(tmp_path / "run", tmp_path / "clean")


def test_a_prepared_corpus_is_read_as_it_is(config, tmp_path):
    tokenizer = load_tokenizer(config.tokenizer)
    corpus = Corpus.of(config.corpus, config.valid_share)
    prepare_corpus(corpus, tokenizer, tmp_path / "corpus", quiet=True)
    run(short(config, tmp_path / "a", corpus=(str(tmp_path / "corpus"),)), quiet=True)
    run(short(config, tmp_path / "b"), quiet=True)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert not (tmp_path / "a" / "tokens").exists()
    both = (str(tmp_path / "corpus"), *config.corpus)
    with pytest.raises(UserError, match="is a prepared corpus: give it alone"):
        run(short(config, tmp_path / "c", corpus=both), quiet=True)
    manifest = tmp_path / "corpus" / "manifest.json"
    (tmp_path / "corpus" / "unfinished").write_text(json.dumps(json.loads(manifest.read_text())))
    manifest.unlink()
    with pytest.raises(UserError, match="corpus is not finished: prepare it again"):
        run(short(config, tmp_path / "c", corpus=both[:1]), quiet=True)


def test_a_resumed_run_needs_its_text_no_more(config, tmp_path):
    (tmp_path / "toy.txt").write_text("\n".join(tiny.sentences(200)))
    once = short(config, tmp_path / "run", corpus=(str(tmp_path / "toy.txt"),))
    first = run(once, quiet=True)
    (tmp_path / "toy.txt").unlink()
    assert run(replace(once, resume=True), quiet=True).last == first.last


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"preset": "modern-huge"}, "unknown preset 'modern-huge'"),
        ({"max_length": 65}, "max_length 65 is more than the 64 positions"),
        ({"valid_share": 1e-9}, "valid part of the text holds no tokens"),
        ({"corpus": ("nowhere.txt",)}, "no such file"),
        ({"tokenizer": Path("nowhere")}, "there is no folder nowhere"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(config, tmp_path, changes, fault):
    with pytest.raises(UserError, match=fault):
        run(short(config, tmp_path / "run", **changes), quiet=True)
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


def test_a_held_out_part_without_a_masked_token_is_refused_at_once(config, tmp_path, monkeypatch):
    monkeypatch.setattr(MaskedLMObjective, "corrupt", lambda *_: no_token_targets)
    with pytest.raises(UserError, match="held-out text is too short"):
        run(short(config, tmp_path / "run"), quiet=True)
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_a_tokenizer_that_was_trained_anew_does_not_fit_the_shards(config, tmp_path):
    folder = tmp_path / "tokenizer"
    tiny.make_tokenizer().save(folder)
    once = short(config, tmp_path / "run", tokenizer=folder)
    run(once, quiet=True)
    tiny.train_tokenizer(tiny.sentences(400), vocab_size=80).save(folder)
    with pytest.raises(UserError, match="tokens was written with another tokenizer"):
        run(replace(once, resume=True), quiet=True)


def test_whole_words_and_accumulation_train_too(config, tmp_path):
    run(short(config, tmp_path / "run", masking="words", accumulate=2, preset=tiny.PRESET))
    first = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[0])
    assert 512 < first["tokens"] <= 1024


def test_a_model_that_learns_nothing_is_warned_of(config, tmp_path, capsys):
    lazy = replace(config.training, steps=8, learning_rate=1e-9, eval_every=2)
    run(short(config, tmp_path / "run", training=lazy), quiet=True)
    assert capsys.readouterr().err.count("the entropy of single tokens") == 1
    run(short(config, tmp_path / "one", steps=3), quiet=True)  # a single evaluation, at the end
    assert capsys.readouterr().err.count("the entropy of single tokens") == 1


def test_a_model_that_learns_is_not(finished, said):
    assert said.getvalue() == ""


def test_the_watch_waits_for_a_loss_that_stays():
    def warned(*losses: float) -> list[bool]:
        watch = PlateauWatch(entropy=6.0, metric="loss")
        return [watch.see({"loss": loss}) for loss in losses]

    assert warned(9.0, 8.0, 7.0, 6.2, 5.0) == [False] * 5
    assert warned(9.0, 6.1, 6.05, 6.04) == [False, False, True, False]
    assert warned(6.1, 5.6, 5.6) == [False] * 3
    assert PlateauWatch(6.0, "loss").see({"loss": 6.1}, is_last=True)
    assert not PlateauWatch(6.0, "loss").see({"loss": 5.5}, is_last=True)
    assert not PlateauWatch(6.0, None).see({"loss": 6.1}, is_last=True)


def test_a_prepared_corpus_that_was_replaced_is_refused(config, tmp_path):
    link, tokenizer = tmp_path / "corpus", load_tokenizer(config.tokenizer)
    for seed, name in enumerate("ab"):
        (tmp_path / f"{name}.txt").write_text("\n".join(tiny.sentences(300, seed)))
        corpus = Corpus.of([str(tmp_path / f"{name}.txt")], 0.1)
        prepare_corpus(corpus, tokenizer, tmp_path / name, quiet=True)
    link.symlink_to(tmp_path / "a")
    once = short(replace(config, corpus=(str(link),)), tmp_path / "run", steps=2)
    run(once, quiet=True)
    assert run(replace(once, resume=True), quiet=True).steps == 2
    link.unlink()
    link.symlink_to(tmp_path / "b")
    with pytest.raises(UserError, match="corpus: the text has changed since the run"):
        run(replace(once, resume=True), quiet=True)


def test_a_run_without_a_checkpoint_starts_anew_with_the_new_options(config, tmp_path):
    first = short(config, tmp_path / "run")
    run(first, quiet=True)
    out = first.out
    shutil.rmtree(out / "checkpoints")
    training = replace(first.training, learning_rate=1e-3)
    run(replace(first, resume=True, training=training), quiet=True)
    assert json.loads((out / "options.json").read_text())["training"]["learning_rate"] == 1e-3
