import io
import json
import zipfile
from collections import Counter

import pytest

from plainformer.corpora import gcide as book
from plainformer.corpora.split import text_key

POS = {"noun": "n.", "verb": "v. t.", "adjective": "a.", "adverb": "adv."}


def entry(word: str, pos: str, *senses: tuple[str, list[str]]) -> dict:
    definitions = [{"text": text, "examples": examples} for text, examples in senses]
    return {"entry": word, "pos": [{"part_of_speech": pos, "definitions": definitions}]}


def dictionary(entries: dict[str, dict]) -> zipfile.ZipFile:
    wheel = zipfile.ZipFile(io.BytesIO(), "w")
    wheel.writestr("dictionary/data/en/words_A.json", json.dumps(entries))
    return wheel


@pytest.fixture
def wheel(monkeypatch):
    monkeypatch.setattr(book, "PER_LABEL", {"test": 10, "valid": 5})
    entries = {}
    for label, pos in POS.items():
        for i in range(100):
            word = f"{label}{i}"
            senses = [(f"A {label} sense {i} {j}.", [f"An example {label} {i} {j}."]) for j in "ab"]
            entries[word] = entry(word, pos, *senses, (f"Shared {label} {i // 2}", []))
            # The same definition under another word, in other dress.
            entries[f"{word}x"] = entry(word, pos, (f"a {label} SENSE {i}  a", []))
    return dictionary(entries)


def test_nothing_that_is_tested_stands_in_any_training_text(wheel):
    text, _ = book.gcide(wheel)
    rows, _ = book.gcide_pos(wheel)
    lines = {part: {text_key(line) for line in lines} for part, lines in text.items()}
    tested = {part: {text_key(row["text"]) for row in rows[part]} for part in rows}
    for part in ("valid", "test"):
        assert not tested[part] & (lines["train"] | lines["valid"] | lines["test"])
        assert not tested[part] & tested["train"]
        assert not lines[part] & lines["train"]
        for definition in tested[part]:
            _, label, sense, i, *_ = [*definition.split(), ""]
            if sense == "sense":  # then its neighbours are held out with it
                assert not {f"an example {label} {i} {j}" for j in "ab"} & lines["train"]
                neighbours = {f"a {label} sense {i} {j}" for j in "ab"}
                assert not (neighbours | {f"shared {label} {int(i) // 2}"}) & tested["train"]
    assert not tested["valid"] & tested["test"]


def test_classes_are_equal_in_valid_and_test(wheel):
    rows, _ = book.gcide_pos(wheel)
    for part, size in (("test", 10), ("valid", 5)):
        assert Counter(row["label"] for row in rows[part]) == dict.fromkeys(POS, size)
    assert len(rows["train"]) > 500


def test_every_text_is_in_a_part_or_counted(wheel):
    entries = json.loads(wheel.read("dictionary/data/en/words_A.json")).values()
    definitions = [d for e in entries for p in e["pos"] for d in p["definitions"]]
    total = sum(1 + len(d["examples"]) for d in definitions)
    for convert in (book.gcide, book.gcide_pos):
        parts, dropped = convert(wheel)
        assert sum(map(len, parts.values())) + dropped.total() == total


def test_labels_that_cannot_be_trusted_are_left_out():
    wheel = dictionary(
        {
            "adipic acid": entry("adipic acid", "v. t.", ("A carboxylic acid.", [])),
            "well": entry("well", "adv.", ("In a good manner.", [])),
            "good": entry("good", "n.", ("in a good manner", [])),
            "quob": entry("quob", "n.", ("See Quab.", []), ("A throb; see Quab, n.", [])),
            "of": entry("of", "prep.", ("Belonging to.", [])),
            "cut": entry("cut", "n.", ("An epizo1913 Webster]", []), ("A whole one.", [])),
        }
    )
    rows, dropped = book.gcide_pos(wheel)
    assert [row["text"] for part in rows.values() for row in part] == ["A whole one."]
    assert dropped.total() == 7


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("same as bromide{2};\n a salt.", "same as bromide; a salt."),
        ("A whale<-- a dolphin? --> of the north.", "A whale of the north."),
        ('A map of life. -- Bi`o*ge`o*graph"ic (#), a.', "A map of life."),
        ("A ship (#) -- so called.", "A ship -- so called."),
        ("[He] spake.", "[He] spake."),
    ],
)
def test_markup_goes_and_words_stay(raw, cleaned):
    assert book.clean(raw) == cleaned
    assert not book.cut_short(raw)


@pytest.mark.parametrize(
    "text", ["A grain or \n[1913 Webster]", "human f1913 Webster]", "Amphisb\n", "used with PJC]"]
)
def test_a_text_that_the_package_cut_is_known(text):
    assert book.cut_short(text)
