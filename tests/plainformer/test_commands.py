"""Each command does its work, and ends with one short message where the user erred."""

import json
import resource
import shutil
from pathlib import Path

import pytest

from plainformer.finetune import Predictor, Table
from plainformer.tables import print_table
from tests.pretrain import tiny


@pytest.fixture
def full_disk():
    """No file may grow beyond the size that the test names."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_from_text_to_prediction(call, corpus, examples, tmp_path):
    """The stages, as the README has them."""
    tok, run, done = tmp_path / "tok", tmp_path / "run", tmp_path / "done"
    said = call("tokenizer", "train", "--files", corpus, "--vocab-size", 60, "--out", tok)
    assert said == (0, f"60 pieces, saved in {tok}\n", "")

    said = call(
        "pretrain", "--corpus", corpus, "--tokenizer", tok, "--out", run, "--preset", tiny.PRESET,
        "--max-length", 32, "--batch-tokens", 256, "--valid-share", 0.1, "--steps", 20,
    )  # fmt: skip
    assert said.code == 0 and said.out.startswith("held-out loss ") and str(run) in said.out

    said = call("fill-mask", run, "--text", "the [MASK] cat .", "--top", 3)
    first, second = said.out.splitlines()
    assert first == "the [MASK] cat ." and second.count("%") == 3

    said = call(
        "finetune", "--model", run, "--train", examples, "--valid", examples, "--out", done,
        "--epochs", 1, "--max-length", 10,
    )  # fmt: skip
    assert said.code == 0 and "training texts were cut to 10 tokens" in said.out

    said = call("evaluate", done, "--data", examples)
    report = done / "evaluation-examples.tsv"
    accuracy = json.loads((report / "metrics.json").read_text())["accuracy"]
    assert f"accuracy {accuracy:.3f}" in said.out and (report / "report.html").exists()

    said = call("predict", done, "--text", "the red hen", "the cat 猫")
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [row["text"] for row in rows] == ["the red hen", "the cat 猫"]
    for row, wanted in zip(rows, Predictor.load(done)(["the red hen", "the cat 猫"]), strict=True):
        assert row["label"] == wanted.label
        assert row["probabilities"] == pytest.approx(wanted.probabilities, abs=1e-6)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_other_kinds_of_tokenizer(call, corpus, tmp_path, kind):
    arguments = ["--kind", kind, "--vocab-size", 300, "--out", tmp_path / "tok"]
    assert call("tokenizer", "train", "--files", corpus, *arguments).code == 0
    assert (tmp_path / "tok" / "tokenizer.json").exists()


def test_labels_are_printed_as_they_are(call, classifier, examples, capfd):
    assert "[b]beast[/b]" in call("evaluate", classifier, "--data", examples).out
    print_table(Table("labels", ("label", "[b]"), [["[/]", 1], ["[red]", 2], ["a\\", 3]]))
    shown = capfd.readouterr().out.split()
    assert shown == ["label", "[b]", "[/]", "1", "[red]", "2", "a\\", "3"]


def test_data_list_names_the_sets(call):
    out = call("data", "list").out
    assert all(name in out for name in ("gcide", "trec", "conll2003"))


# What users get wrong


@pytest.fixture
def bad(tmp_path) -> dict[str, Path]:
    """Files and folders that are not what they should be."""
    made = {name: tmp_path / f"{name}.txt" for name in ("missing", "empty", "binary")}
    made["empty"].touch()
    made["binary"].write_bytes(bytes(range(256)))
    made["folder"] = tmp_path / "folder"
    made["folder"].mkdir()
    return made


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("missing", "no such file: "),
        ("empty", "empty.txt is empty"),
        ("binary", "binary.txt is not UTF-8 text"),
        ("folder", "folder has no .txt"),
    ],
)
def test_a_bad_corpus(refused, pretraining, bad, tmp_path, kind, fault):
    pretraining[2] = bad[kind]
    assert fault in refused(*pretraining)
    out = tmp_path / "run"
    assert not out.exists() or not list(out.iterdir())
    arguments = ["--vocab-size", 60, "--out", out / "tok"]
    assert fault in refused("tokenizer", "train", "--files", bad[kind], *arguments)
    assert not (out / "tok").exists()


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("missing", "no such file: "),
        ("empty", "empty.txt is empty"),
        ("binary", "binary.txt: labelled examples are read from"),
        ("folder", "folder is a folder"),
    ],
)
def test_bad_examples(refused, finetuning, classifier, bad, tmp_path, kind, fault):
    for place in (4, 6):
        arguments = list(finetuning)
        arguments[place] = bad[kind]
        assert fault in refused(*arguments)
    assert fault in refused("evaluate", classifier, "--data", bad[kind])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["missing", "binary", "folder"])
def test_a_folder_without_a_model(refused, finetuning, bad, examples, kind):
    finetuning[2] = bad[kind]
    assert str(bad[kind]) in refused(*finetuning)
    assert str(bad[kind]) in refused("evaluate", bad[kind], "--data", examples)
    assert str(bad[kind]) in refused("predict", bad[kind], "--text", "x")
    assert str(bad[kind]) in refused("fill-mask", bad[kind], "--text", "[MASK]")


@pytest.mark.parametrize("kind", ["missing", "binary", "folder"])
def test_a_folder_without_a_tokenizer(refused, pretraining, bad, tmp_path, kind):
    pretraining[4] = bad[kind]
    assert str(bad[kind]) in refused(*pretraining)
    assert not (tmp_path / "run").exists()


def test_a_pretrained_model_is_no_classifier(refused, pretrained, examples):
    message = refused("evaluate", pretrained, "--data", examples)
    assert "holds no task.json: it was not fine-tuned for a task" in message
    assert "there is no folder nowhere" in refused("evaluate", "nowhere", "--data", examples)


def test_labels_unseen_in_training(call, refused, finetuning, classifier, tmp_path):
    path = tmp_path / "other.tsv"
    path.write_text("text\tlabel\nthe hen\tbird\nthe cod\tfish\n")
    finetuning[6] = path
    wanted = f"{path}:3: the label 'fish' is not among those the model learns: "
    code, out, err = call(*finetuning)
    assert (code, out) == (2, "") and wanted in err.splitlines()[-1], "what was read is said before"
    assert wanted in refused("evaluate", classifier, "--data", path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "bpe"])
def test_a_vocabulary_too_large_for_the_text(refused, corpus, tmp_path, kind):
    arguments = ["--kind", kind, "--vocab-size", 5000, "--out", tmp_path / "tok"]
    message = refused("tokenizer", "train", "--files", corpus, *arguments)
    assert "a vocabulary of 5000 is too large for this text: the largest possible is" in message
    assert not (tmp_path / "tok").exists()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--preset", "modern-huge"], "unknown preset 'modern-huge': choose one of bert-tiny"),
        (["--max-length", 65], "max_length 65 is more than the 64 positions of modern-speck"),
        (["--max-length", 2], "max_length must be at least 3, not 2"),
        (["--mask-ratio", 1.5], "mask_ratio must be between 0 and 1, not 1.5"),
        (["--steps", 0], "steps must be at least 1, not 0"),
        (["--device", "gpu"], "device must be auto, cpu, cuda, cuda:1, mps, xpu …, not 'gpu'"),
        (["--valid-share", 1e-9], "the valid part of the text holds no tokens"),
        (["--learning-rate", 1e9], "try a lower learning rate"),
        (["--budget", "1m"], "--budget chooses the steps: leave out --steps"),
        (["--schedule", "linear", "--decay=0.3"], "--decay is an option of --schedule wsd: give"),
        (
            ["--optimizer", "adamw", "--matrix-learning-rate", 0.1],
            "--matrix-learning-rate is an option of --optimizer muon",
        ),
        (["--momentum", 0.5], "--momentum is an option of --optimizer sgd"),
        (
            ["--optimizer", "sgd", "--betas", 0.9, 0.9],
            "--betas is an option of --optimizer adamw or --optimizer muon",
        ),
        (["--replay-share", 0.5], "replay_share is an option of replay: give both, or neither"),
        (["--eval-every", 0, "--patience", 1], "patience counts evaluations: give eval_every"),
    ],
)
def test_options_that_cannot_work(call, pretraining, options, fault):
    code, out, err = call(*pretraining, *options)
    assert (code, out) == (2, "") and fault in err


def test_only_what_is_on_the_line_must_have_an_effect(call, pretraining, tmp_path):
    """Not what a recipe or a file says: --recipe bert has betas, and so has every run."""
    options = ["--recipe", "bert", "--objective", "mlm", "--optimizer", "sgd"]
    assert call(*pretraining, *options).code == 0
    file = tmp_path / "run" / "options.json"
    assert call("pretrain", "--config", file, "--out", tmp_path / "again").code == 0


def test_a_prepared_corpus_has_its_held_out_part(call, refused, pretraining, corpus, tokenizer):
    prepared = pretraining[pretraining.index("--out") + 1].parent / "prepared"
    line = ["corpus", "--files", corpus, "--tokenizer", tokenizer, "--out", prepared]
    assert call(*line).code == 0
    assert "leave out --valid-share" in refused(*pretraining, "--corpus", prepared)


def test_max_length_beyond_the_models_positions(call, finetuning):
    code, out, err = call(*finetuning, "--max-length", 65)
    assert (code, out) == (2, "")
    assert "more than the 64 positions of the model" in err.splitlines()[-1]


def test_fill_mask_wants_a_mask(call, pretrained):
    code, _, err = call("fill-mask", pretrained, "--text", "the cat")
    assert code == 2 and "there is no [MASK] in 'the cat'" in err


def test_a_run_goes_on_only_as_it_began(call, refused, pretraining, tmp_path):
    assert call(*pretraining).code == 0
    before = {p: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()}
    assert "already holds a run: --resume it" in refused(*pretraining, "--max-length", 16)
    message = refused(*pretraining, "--max-length", 16, "--resume")
    assert "was started with max_length=32, not 16" in message
    assert "steps=6, not 9" in refused(*pretraining, "--steps", 9, "--resume")
    assert {p: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()} == before

    shard = tmp_path / "run" / "tokens" / "train-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-10])
    assert f"{shard} is damaged or cut short" in refused(*pretraining, "--resume")


def test_a_tokenizer_that_does_not_fit_the_shards(call, refused, pretraining, tokenizer, tmp_path):
    folder = tmp_path / "tok"
    shutil.copytree(tokenizer, folder)
    pretraining[4] = folder
    assert call(*pretraining).code == 0
    tiny.make_tokenizer("bpe").save(folder)
    assert "was written with another tokenizer" in refused(*pretraining, "--resume")


def test_a_fine_tuning_is_not_begun_twice(call, refused, finetuning):
    assert call(*finetuning).code == 0
    assert "already holds a run: --resume it" in refused(*finetuning)
    assert call(*finetuning, "--resume").code == 0
    assert "epochs=1.0, not 2.0" in refused(*finetuning, "--epochs", 2, "--resume")


def test_config_repeats_a_run_bit_for_bit(call, pretraining, tmp_path):
    assert call(*pretraining).code == 0
    options = tmp_path / "run" / "options.json"
    assert call("pretrain", "--config", options, "--out", tmp_path / "again").code == 0
    for name in ("model.safetensors", "log.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    text = options.read_text()
    for damage, fault in ((text[:50], "not JSON"), ("[]", "not a JSON object")):
        options.write_text(damage)
        said = call("pretrain", "--config", options, "--out", tmp_path / "third")
        assert said.code == 2 and fault in said.err and str(options) in said.err


@pytest.mark.parametrize("size", [500, 3000, 40_000])
def test_no_space_to_pretrain(call, pretraining, full_disk, tmp_path, size):
    """The options, the shards, the model: wherever space ends, nothing is half-written."""
    full_disk(size)
    code, out, err = call(*pretraining)
    assert (code, out) == (2, "")
    assert "space" in err or "File too large" in err
    assert_whole(tmp_path / "run")


@pytest.mark.parametrize("size", [500, 3000, 40_000])
def test_no_space_to_fine_tune(call, finetuning, full_disk, tmp_path, size):
    full_disk(size)
    code, out, err = call(*finetuning)
    assert (code, out) == (2, "")
    assert "no space left to write in" in err
    assert_whole(tmp_path / "run")


def test_no_space_for_a_tokenizer(refused, corpus, full_disk, tmp_path):
    full_disk(1000)
    arguments = ["--vocab-size", 60, "--out", tmp_path / "tok"]
    message = refused("tokenizer", "train", "--files", corpus, *arguments)
    assert f"cannot write the tokenizer to {tmp_path / 'tok'}" in message
    assert_whole(tmp_path / "tok")


def assert_whole(folder: Path) -> None:
    """No temporary name is left, no checkpoint without its parts, and every JSON can be read."""
    for path in folder.rglob("*"):
        assert path.name == ".plainformer" or not path.name.startswith("."), path
        if path.suffix == ".json":
            json.loads(path.read_text())
        if path.name.startswith("step-"):
            assert (path / "state.json").exists()


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_a_file_where_the_folder_should_be(refused, pretraining, finetuning, tmp_path, command):
    (tmp_path / "run").write_text("in the way")
    assert str(tmp_path / "run") in refused(*(pretraining if command == "pretrain" else finetuning))
    assert (tmp_path / "run").read_text() == "in the way"
