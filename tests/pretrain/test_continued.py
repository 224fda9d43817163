"""Going on from a model: where it begins, what grows, what is replayed, what is forgotten."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import plainformer.pretrain.run
from plainformer.base import UserError
from plainformer.commands import pretrain as command
from plainformer.encoder import Encoder, EncoderConfig, MaskedLM, PairedMaskedLM
from plainformer.pretrain import Chunks, Corpus, PretrainConfig, prepare_corpus
from plainformer.pretrain import pretrain as run
from plainformer.pretrain.continue_pretraining import Retokenized
from plainformer.pretrain.data import MaskedBatches
from plainformer.pretrain.evaluation import PerCharacter
from plainformer.pretrain.masking import Masking, ordinary_ids
from plainformer.pretrain.objectives import Electra, masked_lm
from plainformer.tokenizer import extend, load_tokenizer
from plainformer.training import TrainingConfig, evaluate
from tests.pretrain import tiny

NEW = ["photosynthesis", "mitochondria", "transpiration"]
TRAINING = TrainingConfig(
    steps=6, learning_rate=3e-3, schedule="cosine", eval_every=3, checkpoint_every=2
)


def biology(count: int) -> list[str]:
    """The toy language, with words that it has not, each known by what it does."""
    rows = tiny.sentences(count, seed=3)
    return [f"{row} the {NEW[i % 3]} {tiny.DEEDS[i % 3]} {i} ." for i, row in enumerate(rows)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Texts, a tokenizer, and models of several families that have it."""
    folder = tmp_path_factory.mktemp("continued")
    (folder / "new.txt").write_text("\n".join(biology(300)))
    (folder / "old.txt").write_text("\n".join(tiny.sentences(400)))
    tokenizer = tiny.make_tokenizer()
    torch.manual_seed(0)
    tiny.save_untrained(folder / "modern", "modern", tokenizer)
    tiny.save_untrained(folder / "bert", "bert", tokenizer)
    bert = tiny.shape("bert", tokenizer)
    for name, model in (
        ("pairs", PairedMaskedLM(bert)),
        ("headless", Encoder(bert)),
        ("electra", Electra.new(electra(bert), 0.5)),
    ):
        model.save_pretrained(folder / name)
        tokenizer.save(folder / name)
    return folder


def electra(shape: EncoderConfig) -> EncoderConfig:
    return replace(shape, architecture="electra", classifier_head="gelu")


def config(folder: Path, out: Path, model: str = "bert", **changes) -> PretrainConfig:
    settings = {
        "corpus": (str(folder / "new.txt"),),
        "model": folder / model,
        "max_length": 32,
        "batch_tokens": 256,
        "valid_share": 0.1,
        "valid_tokens": 500,
        "workers": 1,
        "training": TRAINING,
    }
    return PretrainConfig(out=out, **{**settings, **changes})


def rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def evaluations(out: Path) -> dict[int, dict[str, float]]:
    return {row["step"]: row["evaluation"] for row in rows(out) if "evaluation" in row}


def metrics(out: Path) -> dict:
    return json.loads((out / "metrics.json").read_text())


def assert_same_run(a: Path, b: Path) -> None:
    for name in ("model.safetensors", "log.jsonl", "metrics.json", "tokenizer.json"):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


@pytest.mark.parametrize("model", ["bert", "modern"])
def test_a_run_begins_with_the_weights_of_the_folder(folder, tmp_path, model):
    """With a rate of next to nothing it ends with them, too, and nothing is learned or lost."""
    still = replace(TRAINING, steps=1, learning_rate=1e-30, weight_decay=0.0)
    old = (str(folder / "old.txt"),)
    run(config(folder, tmp_path / "run", model, training=still, replay=old), quiet=True)
    before, after = (load_file(f / "model.safetensors") for f in (folder / model, tmp_path / "run"))
    assert before.keys() == after.keys()
    assert all(torch.allclose(before[name], after[name], rtol=0, atol=1e-20) for name in before)
    found = metrics(tmp_path / "run")
    assert found["before"] == found["held_out"] == evaluations(tmp_path / "run")[0]
    assert found["learned"] == found["forgotten"] == 0.0
    assert load_tokenizer(tmp_path / "run").fingerprint() == (
        load_tokenizer(folder / model).fingerprint()
    )


def test_what_is_learned_and_forgotten_is_reported(folder, tmp_path, capsys):
    run(config(folder, tmp_path / "run", replay=(str(folder / "old.txt"),)))
    found, seen = metrics(tmp_path / "run"), evaluations(tmp_path / "run")
    assert list(seen) == [0, 3, 6]
    assert found["before"] == seen[0]
    assert all({"loss", "accuracy", "old_loss", "old_accuracy"} <= set(m) for m in seen.values())
    assert found["learned"] == pytest.approx(seen[0]["loss"] - found["held_out"]["loss"])
    assert found["forgotten"] == pytest.approx(found["held_out"]["old_loss"] - seen[0]["old_loss"])
    said = capsys.readouterr().err
    assert f"going on from {folder / 'bert'}: learning rate 0.003, which rises over 10%" in said
    assert f"new text {seen[0]['loss']:.3f} → {found['held_out']['loss']:.3f}, old text" in said


def test_a_killed_run_goes_on_as_if_it_had_not_been(folder, tmp_path, monkeypatch):
    """With new words and replay; the folder's model and the texts are needed, the words are not."""
    new, old = tmp_path / "new.txt", tmp_path / "old.txt"
    shutil.copy(folder / "new.txt", new), shutil.copy(folder / "old.txt", old)
    changes = {"corpus": (str(new),), "replay": (str(old),), "new_words": 3}
    whole = config(folder, tmp_path / "whole", **changes)
    run(whole, quiet=True)
    call = MaskedBatches.__call__

    def killed(self, step):
        if step == 5:
            raise RuntimeError("killed")
        return call(self, step)

    broken = replace(whole, out=tmp_path / "broken")
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(MaskedBatches, "__call__", killed)
        run(broken, quiet=True)
    new.unlink(), old.unlink()
    run(replace(broken, resume=True), quiet=True)
    assert_same_run(whole.out, broken.out)
    with pytest.raises(UserError, match="new_words=3, not 2"):
        run(replace(broken, resume=True, new_words=2), quiet=True)


@pytest.mark.parametrize("model", ["bert", "modern"])
def test_new_words_are_in_model_and_tokenizer(folder, tmp_path, model):
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    short = replace(TRAINING, steps=2)
    run(config(folder, tmp_path / "run", model, new_words=3, training=short), quiet=True)
    old, new = load_tokenizer(folder / model), load_tokenizer(tmp_path / "run")
    assert {new.token(id) for id in range(old.vocab_size, new.vocab_size)} == set(NEW)
    ours = MaskedLM.from_pretrained(tmp_path / "run")
    assert ours.config.vocab_size == new.vocab_size == old.vocab_size + 3
    text = "the photosynthesis eats [MASK] ."
    theirs = AutoModelForMaskedLM.from_pretrained(tmp_path / "run")
    inputs = AutoTokenizer.from_pretrained(tmp_path / "run")(text, return_tensors="pt")
    batch = new.batch([text])
    assert torch.equal(inputs["input_ids"], batch["input_ids"])
    with torch.no_grad():
        torch.testing.assert_close(ours(**batch), theirs(**inputs).logits, rtol=1e-4, atol=1e-4)


def test_an_extended_tokenizer_may_be_given(folder, tmp_path):
    """It comes to the same run, also from a corpus that was prepared with it."""
    run(config(folder, tmp_path / "a", new_words=3), quiet=True)
    extended = load_tokenizer(tmp_path / "a")
    extended.save(tmp_path / "tokenizer")
    corpus = Corpus.of((str(folder / "new.txt"),), 0.1)
    prepare_corpus(corpus, extended, tmp_path / "corpus", quiet=True)
    given = {"tokenizer": tmp_path / "tokenizer", "corpus": (str(tmp_path / "corpus"),)}
    run(config(folder, tmp_path / "b", **given), quiet=True)
    assert_same_run(tmp_path / "a", tmp_path / "b")


def test_a_vocabulary_that_grew_is_compared_word_for_word(folder, tmp_path):
    """Both vocabularies are asked for the same words, and pay for the same characters."""
    old = load_tokenizer(folder / "bert")
    new = extend(old, NEW)
    texts = biology(80)
    source = Chunks([tiny.shard(texts, new)], new, 32)
    retokenized = Retokenized(source, old, positions=64)
    words, characters = [], []
    for tokenizer, text in ((new, source), (old, retokenized)):
        masking = Masking(tokenizer.mask_id, ordinary_ids(tokenizer), unit="words")
        batches = MaskedBatches(text, masking, 256)
        asked = [new.decode(batch.labels.tolist()) for step in range(9) for batch in batches(step)]
        words.append(" ".join(asked))
        table = PerCharacter.of(tokenizer, masked_lm).characters
        characters.append([int(table[b.labels].sum()) for s in range(9) for b in batches(s)])
        shown = [b.num_tokens for step in range(9) for b in batches(step)]
    assert words[0] == words[1]
    assert characters[0] == characters[1]
    assert sum(shown) > 9 * 256
    order = MaskedBatches(source, masking, 256).order(0)[0]
    rng = np.random.default_rng(0)
    first = retokenized.text(order, rng)
    plain = source.text(order, rng)
    assert old.decode(first.ids.tolist()) == new.decode(plain.ids.tolist())
    assert plain.words[-1] == first.words[-1]
    short = Retokenized(source, old, positions=9).text(order, rng)
    assert max(short.lengths) == 9


def test_the_price_per_character_is_what_it_says(folder):
    tokenizer = load_tokenizer(folder / "bert")
    model = MaskedLM.from_pretrained(folder / "bert")
    source = Chunks([tiny.shard(tiny.sentences(30), tokenizer)], tokenizer, 32)
    batches = MaskedBatches(source, Masking(tokenizer.mask_id, ordinary_ids(tokenizer)), 256)(0)
    found = evaluate(model, PerCharacter.of(tokenizer, masked_lm), batches)
    expected = evaluate(model, masked_lm, batches)
    labels = [id for batch in batches for id in batch.labels.tolist()]
    letters = sum(len(tokenizer.token(id).removeprefix("##")) for id in labels)
    assert found["characters"] * len(labels) == pytest.approx(letters)
    assert found["loss"] == expected["loss"]


def test_before_is_the_model_as_it_came_when_the_vocabulary_grows(folder, tmp_path):
    """Its price is that of the old tokenizer; on the old text it hardly changes."""
    still = replace(TRAINING, steps=1, learning_rate=1e-30, weight_decay=0.0)
    old = {"replay": (str(folder / "old.txt"),), "training": still}
    run(config(folder, tmp_path / "run", new_words=3, **old), quiet=True)
    found = metrics(tmp_path / "run")
    assert set(found["before"]) == {"nats_per_character", "old_nats_per_character"}
    # The old text has none of the new words: three more rows in the softmax are all that it pays.
    assert 0 < found["forgotten"] < 0.05
    assert evaluations(tmp_path / "run")[0] == found["before"]


def test_old_text_is_replayed_in_its_share(folder, tmp_path):
    tokenizer = load_tokenizer(folder / "bert")
    known = {tokenizer.decode(tokenizer.encode(text).ids) for text in tiny.sentences(400)}
    seen = {}
    for share in (0.0, 0.3):
        changes = {"replay": (str(folder / "old.txt"),), "replay_share": share}
        out = tmp_path / str(share)
        batches = spied(config(folder, out, max_length=64, batch_tokens=64, **changes))
        texts = [row for batch in batches for row in original(batch, tokenizer)]
        old = sum(count for text, count in texts if text in known)
        seen[share] = old / sum(count for _, count in texts)
    assert seen[0.0] == 0.0
    assert seen[0.3] == pytest.approx(0.3, abs=0.05)


def original(batch, tokenizer) -> list[tuple[str, int]]:
    """The texts of a batch, and how many tokens each has."""
    ids = batch.input_ids.clone()
    ids[batch.target_positions] = batch.labels
    lengths = batch.sequences.lengths
    return [(tokenizer.decode(part.tolist()), len(part)) for part in ids.split(list(lengths))]


def spied(options: PretrainConfig) -> list:
    """The batches of 400 steps of a run, which it does not take."""
    taken = []

    def train(model, loss, batches, *_, **__):
        taken.extend(batch for step in range(400) for batch in batches(step))
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(plainformer.pretrain.run, "train", train)
        run(options, quiet=True)
    return taken


@pytest.mark.parametrize(
    ("model", "objective"),
    [
        ("bert", ("clm",)),
        ("modern", ("denoise",)),
        ("pairs", ("mlm", "nsp")),
        ("bert", ("sop",)),
        ("electra", ("rtd",)),
    ],
)
def test_every_objective_goes_on_and_remembers(folder, tmp_path, model, objective):
    changes = {"objective": objective, "training": replace(TRAINING, steps=2)}
    old = (str(folder / "old.txt"),)
    run(config(folder, tmp_path / "run", model, replay=old, **changes), quiet=True)
    found = metrics(tmp_path / "run")
    assert {"learned", "forgotten"} <= set(found)
    if model not in ("pairs", "electra"):
        return
    # It has the heads to go on with again.
    run(config(folder, tmp_path / "on", tmp_path / "run", **changes), quiet=True)
    assert metrics(tmp_path / "on")["before"]["loss"] == pytest.approx(found["held_out"]["loss"])


@pytest.mark.parametrize("objective", [("clm",), ("denoise",)])
def test_other_objectives_take_new_words_too(folder, tmp_path, objective):
    changes = {"objective": objective, "training": replace(TRAINING, steps=1)}
    run(config(folder, tmp_path / "run", new_words=3, **changes), quiet=True)
    assert metrics(tmp_path / "run")["before"]["nats_per_character"] > 0


def test_a_missing_head_begins_anew_and_is_named(folder, tmp_path, capsys):
    once = config(folder, tmp_path / "a", "headless", training=replace(TRAINING, steps=1))
    run(once)
    said = capsys.readouterr().err
    assert "not in that folder, so begun anew: bias, head.dense, head.norm\n" in said
    run(replace(once, out=tmp_path / "b"), quiet=True)
    assert_same_run(tmp_path / "a", tmp_path / "b")


def test_the_command_has_defaults_of_its_own_for_going_on(folder, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "plainformer.pretrain.pretrain", lambda options: seen.append(options) or finish()
    )

    def finish():
        raise KeyboardInterrupt

    line = ["--corpus", "c", "--out", str(tmp_path / "run"), "--steps", "5"]
    given = ["--model", str(folder / "bert")]
    for arguments in (
        [*line, "--tokenizer", "t"],
        [*line, *given],
        [*line, *given, "--learning-rate", "1e-5"],
        [*line, *given, "--recipe", "modern"],
    ):
        with pytest.raises(KeyboardInterrupt):
            command.run(arguments)
    fresh, going_on, slower, modern = (options.training for options in seen)
    assert going_on.learning_rate < fresh.learning_rate == modern.learning_rate
    assert (going_on.schedule, slower.learning_rate) == ("cosine", 1e-5)
    assert [options.preset for options in seen] == [None] * 4


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"preset": "bert-tiny"}, "preset bert-tiny is for a new model"),
        ({"model": None}, "tokenizer is missing: give its folder, or a model"),
        ({"model": None, "tokenizer": "t", "new_words": 3}, "new_words is for continuing"),
        ({"model": None, "tokenizer": "t", "replay": ("o",)}, "replay is for continuing"),
        ({"replay_share": 1.0}, "replay_share must be from 0 to below 1, not 1.0"),
        ({"replay_share": -0.1}, "replay_share must be"),
        ({"new_words": -1}, "new_words must be at least 0"),
        ({"model": "nowhere/at/all"}, "there is no folder nowhere/at/all"),
        ({"model": "FOLDER"}, "has no tokenizer"),
        ({"tokenizer": "OTHER"}, "is not the tokenizer of .*bert: it is neither the same"),
        ({"max_length": 65}, "max_length 65 is more than the 64 positions of"),
        ({"objective": ("rtd",)}, "bert has no generator/ beside it"),
        ({"model": "PAIRLESS", "objective": ("sop",)}, "is a modernbert, which has no head for"),
        ({"new_words": 3, "objective": ("mlm", "nsp")}, "a vocabulary grows with mlm"),
        ({"new_words": 3, "corpus": ("OLD",)}, "no frequent word that the vocabulary splits"),
        ({"new_words": 3, "corpus": ("PREPARED",)}, "prepared corpus: new words are learned"),
        ({"replay": ("nowhere.txt",)}, "no such file"),
        ({"replay": ("TINY",)}, "valid part of the text holds no tokens"),
    ],
)
def test_what_cannot_work_is_refused(folder, tmp_path, changes, fault):
    tiny.train_tokenizer(tiny.sentences(400), vocab_size=80).save(tmp_path / "other")
    (tmp_path / "tiny.txt").write_text("the cat\n")
    (tmp_path / "frequent.txt").write_text("\n".join("the " * n for n in range(1, 60)))
    corpus = Corpus.of((str(folder / "new.txt"),), 0.1)
    if changes.get("corpus") == ("PREPARED",):
        prepare_corpus(corpus, load_tokenizer(folder / "bert"), tmp_path / "corpus", quiet=True)
    places = {
        "FOLDER": tmp_path,
        "OTHER": tmp_path / "other",
        "PAIRLESS": folder / "modern",
        ("OLD",): (str(tmp_path / "frequent.txt"),),
        ("PREPARED",): (str(tmp_path / "corpus"),),
        ("TINY",): (str(tmp_path / "tiny.txt"),),
    }
    given = {name: places.get(value, value) for name, value in changes.items()}
    for name in ("model", "tokenizer"):
        if isinstance(given.get(name), str):
            given[name] = Path(given[name])
    options = {"model": given.pop("model", folder / "bert")}
    with pytest.raises(UserError, match=fault):
        run(replace(config(folder, tmp_path / "run"), **options, **given), quiet=True)
    assert not (tmp_path / "run" / "log.jsonl").exists()
