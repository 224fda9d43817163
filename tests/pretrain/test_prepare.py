"""The same shards however many processes write them and however often they are stopped."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import plainformer.pretrain.corpus.prepare
from plainformer.base import UserError
from plainformer.corpora import is_held_out
from plainformer.pretrain import Corpus, check_corpus, prepare_corpus, read_shards
from plainformer.pretrain.corpus.manifest import Journal, is_prepared, read_manifest
from plainformer.pretrain.corpus.worker_pool import in_order
from tests.pretrain import tiny
from tests.pretrain.test_shards import documents, no_file_beyond

ROOT = Path(__file__).parents[2]


class Killed(BaseException):
    """The end of a process, for once without one."""


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Portions and chunks small enough for a toy corpus to have many."""
    monkeypatch.setattr(plainformer.pretrain.corpus.prepare, "SHARD_TOKENS", 400)
    monkeypatch.setattr(plainformer.pretrain.corpus.prepare, "WORK_UNIT", 700)
    monkeypatch.setattr(plainformer.pretrain.corpus.prepare, "WORKER_BYTES", 1)


@pytest.fixture
def texts() -> list[str]:
    """Sentences, some of them more than once, and some of which no token is left."""
    rows = [f"{text} the cat {i} ." for i, text in enumerate(tiny.sentences(300))]
    return [row for i, row in enumerate(rows) for row in [row] * (1 + (i % 10 == 0))] + [
        "\u200b"
    ] * 3


@pytest.fixture
def corpus(tmp_path, texts) -> Corpus:
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "a.txt").write_text("\n".join(texts[:100]))
    (folder / "b.jsonl.gz").write_bytes(
        gzip.compress("\n".join(json.dumps({"text": text}) for text in texts[100:]).encode())
    )
    (folder / "c.txt").write_text("\n".join(texts[50:60]))
    return Corpus.of([str(folder)], valid_share=0.2)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_document_once_in_its_part_and_in_order(corpus, texts, wordpiece, tmp_path):
    manifest = prepare_corpus(corpus, wordpiece, tmp_path / "out", workers=1, quiet=True)
    wanted = [text for text in dict.fromkeys(texts) if wordpiece.words(text)]
    for split in ("train", "valid"):
        shards = read_shards(tmp_path / "out", wordpiece, split)
        assert len(shards) > 3
        found = [words for shard in shards for words in documents(shard)]
        part = [text for text in wanted if is_held_out(text, 0.2) == (split == "valid")]
        assert found == [[[*word] for word in wordpiece.words(text)] for text in part]
        assert manifest.tokens(split) == sum(len(shard.ids) for shard in shards)
    assert manifest.read == len(texts) + 10
    assert manifest.empty == 3
    assert manifest.copies == manifest.read - manifest.empty - len(wanted) == 30 + 10
    assert not (tmp_path / "out" / "unfinished").exists()
    assert read_manifest(tmp_path / "out") == manifest == check_corpus(tmp_path / "out")


def test_the_shards_do_not_depend_on_the_number_of_workers(corpus, tokenizers, tmp_path):
    tokenizer = tokenizers["unigram"]
    for workers in (1, 2):
        prepare_corpus(corpus, tokenizer, tmp_path / str(workers), workers=workers, quiet=True)
    assert content(tmp_path / "1") == content(tmp_path / "2")


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


def test_what_is_complete_is_left_alone(corpus, wordpiece, tmp_path, monkeypatch):
    first = prepare_corpus(corpus, wordpiece, tmp_path / "out", workers=1, quiet=True)
    monkeypatch.setattr(plainformer.pretrain.corpus.prepare, "in_order", None)
    assert prepare_corpus(corpus, wordpiece, tmp_path / "out", quiet=True) == first
    next((tmp_path / "out").glob("train-00002*")).write_bytes(b"short")
    with pytest.raises(UserError, match=r"train-00002\.safetensors is missing or damaged: over"):
        prepare_corpus(corpus, wordpiece, tmp_path / "out", quiet=True)
    monkeypatch.undo()
    monkeypatch.setattr(plainformer.pretrain.corpus.prepare, "SHARD_TOKENS", 400)
    monkeypatch.setattr(plainformer.pretrain.corpus.prepare, "WORK_UNIT", 700)
    again = prepare_corpus(corpus, wordpiece, tmp_path / "out", overwrite=True, quiet=True)
    assert again == first == check_corpus(tmp_path / "out")


def test_a_corpus_of_something_else_is_refused_or_overwritten(
    corpus, wordpiece, tokenizers, tmp_path
):
    out = tmp_path / "out"

    def refused(match: str, corpus=corpus, tokenizer=wordpiece):
        before = content(out)
        with pytest.raises(UserError, match=match):
            prepare_corpus(corpus, tokenizer, out, workers=1, quiet=True)
        assert content(out) == before
        prepare_corpus(corpus, tokenizer, out, workers=1, overwrite=True, quiet=True)
        fresh = tmp_path / "fresh" / str(len(list((tmp_path / "fresh").iterdir())))
        prepare_corpus(corpus, tokenizer, fresh, workers=1, quiet=True)
        assert content(out) == content(fresh)

    (tmp_path / "fresh").mkdir()
    prepare_corpus(corpus, wordpiece, out, workers=1, quiet=True)
    refused("another tokenizer.*overwrite it", tokenizer=tokenizers["unigram"])
    refused("another tokenizer")
    refused("other settings.*0.2", Corpus(corpus.sources, 0.3))
    refused(r"other settings.*0\.3")
    refused(r"other text \(see .*a\.txt\)", Corpus(corpus.sources[1:], 0.2))
    prepare_corpus(corpus, wordpiece, out, workers=1, overwrite=True, quiet=True)
    path = corpus.sources[2].file
    before = path.stat()
    path.write_text("the cat eats . the dog hunts .")
    refused(r"other text \(see .*c\.txt\)")
    path.write_text("the dog hunts . the cat eats .")  # as long as before, and newer
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    refused(r"other text \(see .*c\.txt\)")


def test_a_folder_with_other_files_is_never_touched(corpus, wordpiece, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("ten years of work")
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"did not write \(thesis\.txt\)"):
            prepare_corpus(corpus, wordpiece, out, overwrite=overwrite, quiet=True)
    assert content(out) == {"thesis.txt": b"ten years of work"}
    assert not is_prepared(out)
    (out / "manifest.json").write_text('{"name": "of another program"}')
    (out / "unfinished").write_text("a symphony")
    assert not is_prepared(out)


def test_every_byte_is_checked_when_it_is_asked_for(corpus, wordpiece, tmp_path):
    out = tmp_path / "out"
    prepare_corpus(corpus, wordpiece, out, workers=1, quiet=True)
    shard = out / "valid-00001.safetensors"
    damaged = bytearray(shard.read_bytes())
    damaged[-7] ^= 1
    shard.write_bytes(damaged)
    read_shards(out, wordpiece, "valid")
    with pytest.raises(UserError, match=r"valid-00001\.safetensors is damaged"):
        check_corpus(out)
    shard.unlink()
    with pytest.raises(UserError, match=r"valid-00001\.safetensors is missing"):
        check_corpus(out)
    with pytest.raises(UserError, match=r"valid-00001\.safetensors is missing"):
        read_shards(out, wordpiece, "valid")


def test_what_was_killed_as_it_first_wrote_goes_on(corpus, wordpiece, tmp_path):
    """All that there is is the scratch folder of the file that was to become the journal."""
    (tmp_path / "out" / ".plainformer-x1y2").mkdir(parents=True)
    (tmp_path / "out" / ".plainformer-x1y2" / "new").write_text('{"format": "plainfor')
    prepare_corpus(corpus, wordpiece, tmp_path / "out", quiet=True)
    assert check_corpus(tmp_path / "out").read
    assert [path.name for path in (tmp_path / "out").glob(".*")] == [".plainformer"]


def test_no_folder_is_left_of_a_text_that_cannot_be_read(wordpiece, tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"good\n\xff\xfe\n")
    bad = Corpus.of([str(tmp_path / "bad.txt")], 0.1)
    with pytest.raises(UserError, match=r"bad\.txt:2"):
        prepare_corpus(bad, wordpiece, tmp_path / "run" / "tokens", quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.txt"]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("")
    with pytest.raises(UserError, match=r"bad\.txt:2"):
        prepare_corpus(bad, wordpiece, tmp_path / "run" / "tokens", quiet=True)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine"]


def manifest(**changes: object) -> str:
    """A manifest of one shard, of which a field is changed."""
    shard = {"file": "train-00000.safetensors", "documents": 1, "tokens": 3, "bytes": 9}
    return json.dumps(
        {
            "format": "plainformer corpus 1",
            "tokenizer": "abc",
            "settings": {},
            "sources": [{"file": "a.txt"}],
            "documents": {"read": 1, "copies": 0, "empty": 0},
            "shards": [{**shard, "sha256": "0", **changes}],
        }
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"manifest\.json: not JSON"),
        ("[]", r"manifest\.json: not a JSON object, but a list"),
        ('{"format": "plainformer corpus 0", "shards": []}', "has another format than"),
        (manifest(tokens="3"), r"shards\[0\]: tokens must be a whole number, not the text '3'"),
        (manifest(tokens=-3), r"shards\[0\]: tokens must be a whole number from 0"),
        (manifest(tokens=10**30), "tokens must be a whole number of at most 19 digits"),
        (manifest(file="../train-00000.safetensors"), "file must be the name of a shard"),
        (manifest(file="/etc/passwd"), "file must be the name of a shard"),
        (manifest(sha256=None), r"shards\[0\]: sha256 must be a text, not null"),
        (manifest().replace('"read"', '"red"'), "documents: read is missing"),
        (manifest().replace('"a.txt"', "[]"), r"sources\[0\]: file must be a text, not a list"),
        (None, "holds no prepared corpus"),
    ],
)
def test_a_manifest_that_is_none(tmp_path, wordpiece, text, message):
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_shards(tmp_path, wordpiece, "train")


def test_a_fault_in_the_text_is_told_and_leaves_no_corpus(corpus, wordpiece, tmp_path):
    file = corpus.sources[2].file
    file.write_bytes(b"one\ntwo\ncaf\xe9\n")
    with pytest.raises(UserError, match=r"c\.txt:3: byte 0xe9"):
        prepare_corpus(corpus, wordpiece, tmp_path / "out", workers=1, quiet=True)
    with pytest.raises(UserError, match="not finished"):
        read_shards(tmp_path / "out", wordpiece, "train")


def test_a_part_without_tokens(corpus, wordpiece, tmp_path):
    with pytest.raises(UserError, match=r"the valid part .*hold out a larger share"):
        prepare_corpus(
            Corpus(corpus.sources, 0.0), wordpiece, tmp_path / "out", workers=1, quiet=True
        )
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="the train part"):
        prepare_corpus(
            Corpus(corpus.sources, 1.0), wordpiece, tmp_path / "out", workers=1, quiet=True
        )


def test_a_full_disk(corpus, wordpiece, tmp_path, monkeypatch):
    monkeypatch.setattr(plainformer.pretrain.corpus.prepare, "SHARD_TOKENS", 10**6)
    with no_file_beyond(4096), pytest.raises(UserError, match="cannot write the token shard"):
        prepare_corpus(corpus, wordpiece, tmp_path / "out", workers=1, quiet=True)
    with no_file_beyond(100), pytest.raises(UserError, match="no space left to write in"):
        prepare_corpus(corpus, wordpiece, tmp_path / "other", workers=1, quiet=True)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write to"):
        prepare_corpus(corpus, wordpiece, tmp_path / "file" / "out", workers=1, quiet=True)


def test_progress_is_told_where_there_is_no_terminal(
    corpus, wordpiece, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("plainformer.base.progress.SECONDS_BETWEEN_LINES", 0.0)
    prepare_corpus(corpus, wordpiece, tmp_path / "out", workers=1)
    last = capsys.readouterr().err.splitlines()[-1]
    size = sum(Path(source.file).stat().st_size for source in corpus.sources) / 1e6
    assert last.startswith(f"tokenizing {size:.1f} of {size:.1f} MB ")
    assert last.endswith("0:00:00 left")


def double(x: int) -> int:
    if x == 60:
        raise UserError("sixty")
    if x == 66:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * x


def doubling() -> Callable[[int], int]:
    return double


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stream_in_order_and_never_far_ahead_until_one_raises(workers):
    taken = 0

    def stream():
        nonlocal taken
        for number in range(14, 80):
            taken = number
            yield number

    results = in_order(doubling, (), stream(), workers)
    for number in range(14, 60):
        assert next(results) == (number, 2 * number)
        assert taken <= number + 2 * workers + 1
    with pytest.raises(UserError, match=r"^sixty$"):
        next(results)
    assert taken < 70


def test_a_worker_that_is_killed_is_told_of():
    with pytest.raises(UserError, match=r"a worker process has ended.*fewer workers"):
        list(in_order(doubling, (), range(61, 80), 2))


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
