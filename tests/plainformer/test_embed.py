import gzip
import io
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plainformer.__main__ import main
from plainformer.encoder import Encoder, SentenceEncoder
from plainformer.finetune import Embedder
from plainformer.tokenizer import train_tokenizer
from tests.encoder.tools import bert, randomise

TEXTS = ["the encoder reads", "from left to right, and back again", "tokens travel packed"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer(TEXTS * 20, vocab_size=60)
    tokenizer.save(folder)
    randomise(Encoder(bert(vocab_size=tokenizer.vocab_size))).save_pretrained(folder)
    return folder


def test_a_row_for_each_text(folder: Path, tmp_path: Path, capsys: Any) -> None:
    file, out = tmp_path / "text.txt", tmp_path / "made" / "vectors.npy"
    file.write_text("\n\n".join(TEXTS))
    assert main(["embed", str(folder), "--file", str(file), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "3 vectors of 32 numbers" in said.out
    assert f"2 blank lines of {file} have no vector" in said.err
    vectors = np.load(out, allow_pickle=False)
    np.testing.assert_array_equal(vectors, Embedder.load(folder)(TEXTS))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert [path.name for path in out.parent.iterdir()] == ["vectors.npy"]


def test_a_pipe_takes_the_bytes_of_the_file(folder: Path, tmp_path: Path, capfd: Any) -> None:
    pipe, out = tmp_path / "pipe", tmp_path / "vectors.npy"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    for where in (out, pipe, "/dev/null"):
        assert main(["embed", str(folder), "--text", "the reader", "--out", str(where)]) == 0
        printed = capfd.readouterr()
    expected = np.load(out)
    assert np.load(io.BytesIO(os.read(reader, 1 << 20))).tobytes() == expected.tobytes()
    os.close(reader)
    assert "1 vector of 32 numbers is in" in printed.err and not printed.out
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_rows_may_be_packed_and_may_be_pairs(folder: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "rows.jsonl.gz", tmp_path / "vectors.npy"
    file.write_bytes(gzip.compress(b'{"text": "plain", "pair": "text"}\n{"text": "plain"}\n'))
    assert main(["embed", str(folder), "--file", str(file), "--out", str(out)]) == 0
    expected = Embedder.load(folder)([("plain", "text"), "plain"])
    np.testing.assert_array_equal(np.load(out, allow_pickle=False), expected)


def test_options_reach_the_vectors(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "vectors.npy"
    options = ["--pooling", "cls", "--normalise", "no", "--max-length", "4"]
    assert main(["embed", str(folder), "--text", *TEXTS, "--out", str(out), *options]) == 0
    expected = Embedder.load(folder, "cls", False, 4)(TEXTS)
    np.testing.assert_array_equal(np.load(out), expected)


def test_a_prompt_of_the_folder_is_put_before_each_text(
    folder: Path, tmp_path: Path, capsys: Any
) -> None:
    declared, out = tmp_path / "declared", tmp_path / "vectors.npy"
    shutil.copytree(folder, declared)
    SentenceEncoder.from_pretrained(folder).save_pretrained(declared)
    settings = declared / "config_sentence_transformers.json"
    values = json.loads(settings.read_text())
    values |= {"prompts": {"query": "left to "}, "default_prompt_name": "query"}
    settings.write_text(json.dumps(values))
    given = ["embed", str(declared), "--text", *TEXTS, "--out", str(out)]
    plain, asked = (
        Embedder.load(folder)(TEXTS),
        Embedder.load(folder)([f"left to {t}" for t in TEXTS]),
    )
    for options, expected in [
        ([], asked),
        (["--prompt", "query"], asked),
        (["--prompt", ""], plain),
    ]:
        assert main([*given, *options]) == 0
        np.testing.assert_allclose(np.load(out), expected, atol=1e-6)
    capsys.readouterr()
    out.unlink()
    assert main([*given, "--prompt", "passage"]) == 2
    assert capsys.readouterr().err.endswith("no prompt 'passage'; the model has: document, query\n")
    assert not out.exists()


def test_in_int8_they_are_nearly_the_same(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "vectors.npy"
    assert main(["embed", str(folder), "--text", *TEXTS, "--out", str(out), "--int8"]) == 0
    vectors, whole = np.load(out), Embedder.load(folder)(TEXTS)
    assert not np.array_equal(vectors, whole)
    assert (vectors * whole).sum(1).min() > 0.999


def test_errors_are_one_line_and_leave_nothing(folder: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "vectors.npy"
    for arguments, message in [
        (["--out", str(out)], "give either --text or --file"),
        (["--text", "x", "--out", str(tmp_path / "vectors.txt")], "must end in .npy"),
        (["--text", "x", "--out", str(out), "--max-length", "99"], "is more than the 40"),
        (["--text", "x\ud800", "--out", str(out)], "lone surrogate"),
        (["--file", str(tmp_path / "none.txt"), "--out", str(out)], "none.txt"),
    ]:
        assert main(["embed", str(folder), *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
