"""JSON from outside: bounded, of the kinds asked for, and every fault by file and field."""

import json
from pathlib import Path

import pytest

from plainformer.base import Fields, UserError, parse_json, read_json
from plainformer.base.errors import closest


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("\n\n{]", "line 3"),
        ("[" * 100_000, "nested deeper"),
        ("[" * 65 + "]" * 65, "nested deeper"),
        ('{"a":' * 200 + "1" + "}" * 200, "nested deeper"),
        ("9" * 5000, "too many digits"),
        (r'{"a": "\ud800"}', "surrogate"),
        (b'{"a": "\xff"}', "UTF-8"),
    ],
)
def test_what_is_not_json_is_said_in_one_line(text: str | bytes, says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        parse_json(text, "here.json")
    assert str(error.value).startswith("here.json: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [None, 1, "ü𝄞", [1, {"a": [2.5, True]}], [[[]] * 200]])
def test_what_is_json_is_read(value: object) -> None:
    for ascii in (True, False):
        assert parse_json(json.dumps(value, ensure_ascii=ascii).encode(), "x") == value


def test_a_file_is_an_object(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(UserError, match=r"a\.json cannot be read: No such file"):
        read_json(path)
    path.write_text("[1]")
    with pytest.raises(UserError, match=r"a\.json: not a JSON object, but a list"):
        read_json(path)
    path.write_text('\ufeff{"a": 1}', encoding="utf-8")
    assert read_json(path) == {"a": 1}
    with pytest.raises(UserError, match="too large"):
        read_json(path, max_bytes=3)
    with pytest.raises(UserError, match="cannot be read"):
        read_json(Path("a\0b"))


def test_values_are_of_the_kind_that_is_asked_for() -> None:
    fields = Fields(
        {"t": "x", "n": 3, "f": 0.5, "b": True, "l": ["a"], "o": {"n": 1}, "w": 2.0, "null": None},
        "c.json",
    )
    assert (fields.text("t"), fields.whole("n"), fields.number("f")) == ("x", 3, 0.5)
    assert (fields.flag("b"), fields.texts("l"), fields.whole("w")) == (True, ["a"], 2)
    assert fields.fields("o").whole("n") == 1
    assert fields.fields("none").whole("n", 7) == 7
    assert fields.text("null", None) is None
    assert "null" not in fields
    assert "t" in fields


@pytest.mark.parametrize(
    ("value", "read", "says"),
    [
        (
            "3",
            lambda f: f.whole("v"),
            "v must be a whole number from 0 to 2147483647, not the text",
        ),
        (True, lambda f: f.whole("v"), "not true"),
        (10**20, lambda f: f.whole("v"), "not 100000000000000000000"),
        (-1, lambda f: f.whole("v", least=0), "not -1"),
        (2.5, lambda f: f.whole("v"), "not 2.5"),
        (float("inf"), lambda f: f.whole("v"), "not inf"),
        (float("nan"), lambda f: f.number("v"), "v must be a finite number, not nan"),
        (10**400, lambda f: f.number("v"), "finite number"),
        (2, lambda f: f.number("v", least=0, most=1), "from 0 to 1, not 2"),
        (1, lambda f: f.text("v"), "a text, not 1"),
        (1, lambda f: f.flag("v"), "true or false, not 1"),
        ("c", lambda f: f.choice("v", ("a", "b")), "one of a, b, not the text 'c'"),
        ([], lambda f: f.choice("v", ("a", "b")), "not a list"),
        (["a", 1], lambda f: f.texts("v"), "a list of texts, not a list"),
        ([1], lambda f: f.fields("v"), "an object, not a list"),
        (None, lambda f: f.text("v"), "v is missing"),
        ("x" * 1000, lambda f: f.whole("v"), "x…"),
    ],
)
def test_any_other_kind_is_refused_by_name(value: object, read: object, says: str) -> None:
    with pytest.raises(UserError) as error:
        read(Fields({"v": value}, "c.json"))  # type: ignore[operator]
    assert str(error.value).startswith("c.json: v ")
    assert says in str(error.value)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("--lr", "--learning-rate"),
        ("--wd", "--weight-decay"),
        ("--learning_rate", "--learning-rate"),
        ("--CRF", "--crf"),
        ("--zzz", None),
    ],
)
def test_the_closest_name(given: str, near: str | None) -> None:
    assert closest(given, ["--crf", "--learning-rate", "--weight-decay", "--out"]) == near
