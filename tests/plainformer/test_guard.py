"""Every command: what is not its own stays, what fails leaves nothing, and two do not meet."""

import os
import stat
import threading
from pathlib import Path

import pytest
import torch

from plainformer.base import output_folder, replaced_folder
from plainformer.tokenizer import load_tokenizer
from plainformer.tokenizer.wordpiece import WordPiece
from tests.base.processes import another_process_in
from tests.pretrain import tiny


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Each path below a folder, with what is in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def old_model(pretrained, tmp_path) -> Path:
    """A folder with a pickle, to be converted."""
    folder = tmp_path / "old model"
    folder.mkdir()
    (folder / "config.json").write_bytes((pretrained / "config.json").read_bytes())
    from safetensors.torch import load_file

    torch.save(load_file(pretrained / "model.safetensors"), folder / "pytorch_model.bin")
    return folder


@pytest.fixture
def commands(pretraining, finetuning, corpus, tokenizer, classifier, examples, old_model):
    """Each command that writes a folder, without its --out."""
    run = [a for a in pretraining if a != "--out" and not str(a).endswith("/run")]
    tune = [a for a in finetuning if a != "--out" and not str(a).endswith("/run")]
    train = ["tokenizer", "train", "--files", corpus, "--vocab-size", 300]
    return {
        "pretrain": run,
        "pretrain --resume": [*run, "--resume"],
        "finetune": tune,
        "finetune --resume": [*tune, "--resume"],
        "finetune --seeds": [*tune, "--seeds", 2],
        "search": ["search", *tune[1:]],
        "tokenizer train": train,
        "corpus": ["corpus", "--files", corpus, "--tokenizer", tokenizer, "--valid-share", 0.1],
        "corpus --overwrite": ["corpus", "--files", corpus, "--tokenizer", tokenizer,
                               "--valid-share", 0.1, "--overwrite"],
        "evaluate": ["evaluate", classifier, "--data", examples],
        "compare": ["compare", classifier],
        "convert": ["convert", old_model],
        "demo": ["demo", "--minutes", 0.01, "--seeds", 2],
    }  # fmt: skip


NAMES = ["pretrain", "pretrain --resume", "finetune", "finetune --resume", "finetune --seeds",
         "tokenizer train", "corpus", "corpus --overwrite", "evaluate",
         "compare", "convert", "demo"]  # fmt: skip


@pytest.mark.parametrize("name", [*NAMES, "search"])
def test_a_folder_of_others_stays_as_it_was(commands, refused, pretrained, tmp_path, name):
    """A model, a checkout, a folder that looks like a corpus or a run: each keeps every byte."""
    (tmp_path / "checkout" / "tokenizer").mkdir(parents=True)
    (tmp_path / "checkout" / "tokenizer" / "base.py").write_text("source")
    (tmp_path / "checkout" / "runs").mkdir()
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "manifest.json").write_text('{"name": "an app of the web"}')
    (tmp_path / "web" / "train-00000.safetensors").write_text("weights")
    (tmp_path / "options").mkdir()
    (tmp_path / "options" / "options.json").write_text('{"theme": "dark"}')
    model = tmp_path / "model"
    model.mkdir()
    for path in pretrained.glob("[!.]*"):
        (model / path.name).write_bytes(path.read_bytes())
    before = snapshot(tmp_path)
    for out in ("checkout", "web", "options", "model"):
        message = refused(*commands[name], "--out", tmp_path / out)
        assert f"{tmp_path / out} holds files that" in message
        assert "choose another folder" in message
        assert snapshot(tmp_path) == before


@pytest.mark.parametrize("name", NAMES)
def test_two_at_once_into_one_folder(commands, refused, tmp_path, name):
    maker = name.partition(" --")[0]
    out = tmp_path / "out"
    with another_process_in(lambda: output_folder(out, maker)):
        message = refused(*commands[name], "--out", out)
        assert message.endswith(
            f"another process is writing to {out}: wait for it, or choose another folder"
        )
        assert {path.name for path in out.iterdir()} == {".plainformer"}


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("pretrain", {"--corpus": "empty.txt"}, "has no text"),
        ("pretrain", {"--corpus": "latin.txt"}, "not UTF-8"),
        ("pretrain", {"--corpus": "nowhere.txt"}, "no such file"),
        ("pretrain", {"--tokenizer": "nowhere"}, "no folder"),
        ("pretrain", {"--device": "cuda:7"}, "cuda"),
        ("pretrain", {"--max-length": 100_000, "--batch-tokens": 200_000}, "positions"),
        ("finetune", {"--train": "latin.txt"}, "latin.txt"),
        ("finetune", {"--valid": "nowhere.tsv"}, "no such file"),
        ("finetune", {"--model": "nowhere"}, "no folder"),
        ("finetune", {"--device": "cuda:7"}, "cuda"),
        ("finetune", {"--max-length": 100_000}, "positions"),
        ("finetune --seeds", {"--train": "latin.txt"}, "latin.txt"),
        ("search", {"--train": "latin.txt"}, "latin.txt"),
        ("search", {"--device": "cuda:7"}, "cuda"),
        ("tokenizer train", {"--files": "nowhere.txt"}, "no such file"),
        ("tokenizer train", {"--files": "latin.txt"}, "not UTF-8"),
        ("tokenizer train", {"--vocab-size": 6}, "too small"),
        ("corpus", {"--files": "empty.txt"}, "has no text"),
        ("corpus", {"--files": "latin.txt"}, "not UTF-8"),
        ("evaluate", {"--data": "latin.txt"}, "latin.txt"),
        ("evaluate", {"--data": "nowhere.tsv"}, "no such file"),
        ("compare", {"--text": "latin.txt"}, "not UTF-8"),
        ("convert", {1: "empty folder"}, "no config.json"),
    ],
)
def test_what_fails_before_its_work_leaves_nothing(
    commands, call, tmp_path, name, changes, message
):
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "latin.txt").write_bytes(b"text\tlabel\ngr\xfcn\tgreen\n" * 20)
    (tmp_path / "empty folder").mkdir()
    arguments = list(commands[name])
    for option, value in changes.items():
        if "." in str(value) or " " in str(value):
            value = tmp_path / value
        if option in arguments:
            arguments[arguments.index(option) + 1] = value
        elif isinstance(option, int):
            arguments[option] = value
        else:
            arguments += [option, value]
    before = snapshot(tmp_path)
    for out in ("out", "deep/er/out"):
        said = call(*arguments, "--out", tmp_path / out)
        assert said.code == 2 and message in said.err, said.err
        assert snapshot(tmp_path) == before


def test_another_kind_of_tokenizer_takes_the_place_of_the_first(commands, call, refused, tmp_path):
    out = tmp_path / "tok"
    train = [*commands["tokenizer train"], "--out", out]
    for kind in ("unigram", "wordpiece", "bpe", "wordpiece"):
        size = 100 if kind == "wordpiece" else 300
        assert call(*train, "--kind", kind, "--vocab-size", size).code == 0
        assert isinstance(load_tokenizer(out), WordPiece) is (kind == "wordpiece")
        alone = tmp_path / "alone"
        with replaced_folder(alone, "test") as folder:
            load_tokenizer(out).save(folder)
        files = {path.name for path in alone.glob("[!.]*")}
        assert {path.name for path in out.glob("[!.]*")} == files
    (out / "notes.txt").write_text("mine")
    assert "did not write (notes.txt)" in refused(*train)


def test_a_run_is_no_place_for_another_command(classifier, commands, refused):
    before = snapshot(classifier)
    for name in ("tokenizer train", "corpus", "evaluate", "compare", "convert", "pretrain", "demo"):
        message = refused(*commands[name], "--out", classifier)
        assert "choose another" in message
    assert snapshot(classifier) == before


def test_a_folder_written_before_there_were_marks(pretraining, call, refused, tmp_path):
    assert call(*pretraining).code == 0
    (tmp_path / "run" / ".plainformer").unlink()
    assert "already holds a run: --resume it" in refused(*pretraining)
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    assert call(*pretraining, "--resume").code == 0
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before
    assert (tmp_path / "run" / ".plainformer").exists()


def test_predictions_and_vectors_go_through_a_pipe(classifier, call, tmp_path):
    pipe, link = tmp_path / "pipe", tmp_path / "vectors.npy"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    read = []
    for command in (["predict", classifier, "--out", pipe], ["embed", classifier, "--out", link]):
        reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
        reader.start()
        assert call(*command, "--text", "the hen pecks").code == 0
        reader.join(10)
        assert pipe.is_fifo() and link.is_symlink()
    lines, vectors = read
    assert b"the hen pecks" in lines and vectors.startswith(b"\x93NUMPY")
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "vectors.npy"}


def test_files_follow_links_and_keep_their_mode(classifier, call, tmp_path):
    for name in ("answers.jsonl", "vectors.npy", "curves.png"):
        (tmp_path / "there").mkdir(exist_ok=True)
        (tmp_path / "there" / name).write_text("old")
        (tmp_path / "there" / name).chmod(0o640)
        (tmp_path / name).symlink_to(Path("there") / name)
    texts = ["--text", "the hen pecks"]
    assert call("predict", classifier, *texts, "--out", tmp_path / "answers.jsonl").code == 0
    assert call("embed", classifier, *texts, "--out", tmp_path / "vectors.npy").code == 0
    assert call("runs", classifier, "--plot", tmp_path / "curves.png").code == 0
    begins = (b"{", b"\x93NUMPY", b"\x89PNG")
    for name, first in zip(("answers.jsonl", "vectors.npy", "curves.png"), begins, strict=True):
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "there" / name).read_bytes().startswith(first)
        assert stat.S_IMODE((tmp_path / "there" / name).stat().st_mode) == 0o640
    assert not list(tmp_path.rglob(".*"))


def test_what_is_read_is_not_replaced(classifier, refused, tmp_path):
    texts = tmp_path / "texts.npy"
    texts.write_text("\n".join(tiny.sentences(3)))
    for command in ("predict", "embed"):
        message = refused(command, classifier, "--file", texts, "--out", texts)
        assert "is the input file" in message
    assert texts.read_text() == "\n".join(tiny.sentences(3))


def test_a_file_that_cannot_be_made_is_found_before_the_work(classifier, refused, tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file" / "vectors.npy", tmp_path / "folder.npy"):
        (tmp_path / "folder.npy").mkdir(exist_ok=True)
        message = refused("embed", classifier, "--text", "a", "--out", out)
        assert str(out) in message or str(out.parent) in message
    assert (tmp_path / "file").read_text() == "mine"
