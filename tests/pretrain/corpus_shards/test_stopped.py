"""The same shards however often their preparation is stopped, killed or damaged."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import plainformer.pretrain.corpus.prepare
from plainformer.base import UserError
from plainformer.pretrain import Corpus, check_corpus, prepare_corpus, read_shards
from plainformer.pretrain.corpus.manifest import Journal, is_prepared
from tests.pretrain import tiny
from tests.pretrain.corpus_shards.conftest import content
from tests.processes import ROOT


class Killed(BaseException):
    """The end of a process, for once without one."""


def test_what_was_stopped_anywhere_goes_on(corpus, wordpiece, tmp_path, monkeypatch):
    """After each portion: its shards are complete, and nothing is tokenised twice."""
    whole = prepare_corpus(corpus, wordpiece, tmp_path / "whole", workers=1, quiet=True)
    portions = len({entry.file[-17:] for entry in whole.shards})
    write, tokenised = plainformer.pretrain.corpus.prepare.write_shard, 0
    words = type(wordpiece).words

    def counted(self, text):
        nonlocal tokenised
        tokenised += 1
        return words(self, text)

    def dies(path, *arguments):
        if path.name.startswith("train") and path.name not in seen:
            seen.add(path.name)
            raise Killed
        return write(path, *arguments)

    seen: set[str] = set()
    monkeypatch.setattr(plainformer.pretrain.corpus.prepare, "write_shard", dies)
    monkeypatch.setattr(type(wordpiece), "words", counted)
    for _ in range(portions):
        with pytest.raises(Killed):
            prepare_corpus(corpus, wordpiece, tmp_path / "parts", workers=1, quiet=True)
        assert is_prepared(tmp_path / "parts")
        with pytest.raises(UserError, match="is not finished: prepare it again"):
            read_shards(tmp_path / "parts", wordpiece, "train")
    again = prepare_corpus(corpus, wordpiece, tmp_path / "parts", workers=1, quiet=True)
    assert again == whole and len(seen) == portions > 5
    assert content(tmp_path / "parts") == content(tmp_path / "whole")
    assert tokenised < 2.5 * whole.read  # each portion twice, and not all of them every time


@pytest.mark.parametrize("damage", ["torn line", "lost shard", "cut shard"])
def test_it_goes_on_behind_the_last_portion_that_is_whole(
    corpus, wordpiece, tmp_path, monkeypatch, damage
):
    prepare_corpus(corpus, wordpiece, tmp_path / "whole", workers=1, quiet=True)
    out = tmp_path / "out"

    def dies(self):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Journal, "finish", dies)
        prepare_corpus(corpus, wordpiece, out, workers=1, quiet=True)
    shard = out / "train-00004.safetensors"
    if damage == "torn line":
        journal = (out / "unfinished").read_text()
        (out / "unfinished").write_text(journal[:-30])
    elif damage == "lost shard":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:-1])
    prepare_corpus(corpus, wordpiece, out, workers=1, quiet=True)
    assert content(out) == content(tmp_path / "whole")


def test_what_was_killed_as_it_first_wrote_goes_on(corpus, wordpiece, tmp_path):
    """All that there is is the scratch folder of the file that was to become the journal."""
    (tmp_path / "out" / ".plainformer-x1y2").mkdir(parents=True)
    (tmp_path / "out" / ".plainformer-x1y2" / "new").write_text('{"format": "plainfor')
    prepare_corpus(corpus, wordpiece, tmp_path / "out", quiet=True)
    assert check_corpus(tmp_path / "out").read
    assert [path.name for path in (tmp_path / "out").glob(".*")] == [".plainformer"]


PREPARED = """
import os
import signal
import sys
from pathlib import Path
import plainformer.pretrain.corpus.prepare
from plainformer.pretrain import Corpus, prepare_corpus
from plainformer.tokenizer import load_tokenizer

write_shard = plainformer.pretrain.corpus.prepare.write_shard
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it

def stopping(path, *rest):
    entry = write_shard(path, *rest)
    if path.name == os.environ.get("STOP_BEHIND"):
        number = int(os.environ["SIGNAL"])
        # Ctrl-C reaches all processes of a terminal; a kill only the one.
        os.killpg(0, number) if number == 2 else os.kill(os.getpid(), number)
    return entry

if __name__ == "__main__":
    plainformer.pretrain.corpus.prepare.write_shard = stopping
    plainformer.pretrain.corpus.prepare.SHARD_TOKENS = 20_000
    plainformer.pretrain.corpus.prepare.WORKER_BYTES = 1
    plainformer.pretrain.corpus.prepare.WORK_UNIT = 10_000
    text, tokenizer, out = sys.argv[1:]
    prepare_corpus(Corpus.of([text], 0.1), load_tokenizer(tokenizer), Path(out), workers=2)
"""


@pytest.mark.slow
def test_what_was_interrupted_and_then_killed_goes_on_to_the_same_shards(
    tmp_path, wordpiece, monkeypatch
):
    (tmp_path / "prepared.py").write_text(PREPARED)
    with (tmp_path / "a.txt").open("w") as file:
        file.writelines(f"{text} {i}\n" for i, text in enumerate(tiny.sentences(25_000)))
    wordpiece.save(tmp_path / "tokenizer")
    names = [tmp_path / name for name in ("prepared.py", "a.txt", "tokenizer", "out")]
    command = [sys.executable, *map(str, names)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    deadline = time.monotonic() + 200
    for number, shard in ((signal.SIGINT, 2), (signal.SIGKILL, 4)):
        stop = {"STOP_BEHIND": f"train-{shard:05}.safetensors", "SIGNAL": str(int(number))}
        started = subprocess.Popen(
            command,
            env={**environment, **stop},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        _, error = started.communicate(timeout=60)
        assert started.returncode == -number
        assert error.count("Traceback") == (number == signal.SIGINT)  # the script's: no worker's
        while _group(started.pid):  # the workers end, too
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not (tmp_path / "out" / "manifest.json").exists()
    subprocess.run(command, env=environment, check=True)
    monkeypatch.setattr(plainformer.pretrain.corpus.prepare, "SHARD_TOKENS", 20_000)
    monkeypatch.setattr(plainformer.pretrain.corpus.prepare, "WORK_UNIT", 10_000)
    corpus = Corpus.of([str(tmp_path / "a.txt")], 0.1)
    prepare_corpus(corpus, wordpiece, tmp_path / "clean", workers=1, quiet=True)
    assert content(tmp_path / "out") == content(tmp_path / "clean")
    assert check_corpus(tmp_path / "out").read == 25_000 and len(content(tmp_path / "out")) > 12


def _group(leader: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, *_, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == leader and state != "Z":
            found.append(int(stat.parent.name))
    return found
