"""A dataclass from JSON: every type a field may have, and every fault by the name of the field."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

from plainformer.base import UserError, as_json, from_json
from plainformer.base.from_json import typed


class Place(NamedTuple):
    """Just behind so many lines of a file."""

    file: int
    lines: int


@dataclass(frozen=True)
class Inner:
    """Settings within settings."""

    rate: float = 0.5
    name: str = "a"


@dataclass(frozen=True)
class Outer:
    """One field of every kind."""

    path: Path
    place: Place
    count: int = 3
    limit: int | None = None
    flag: bool = True
    kind: Literal["a", "b"] = "a"
    names: tuple[str, ...] = ()
    pair: tuple[float, float] = (0.0, 1.0)
    scores: dict[str, float] = field(default_factory=dict)
    inner: Inner = field(default_factory=lambda: Inner(rate=0.25))
    more: tuple[Inner, ...] = ()


OUTER = Outer(
    Path("x"), Place(1, 2), 4, 7, False, "b", ("u", "v"), (1.0, 2.0), {"s": 0.5}, Inner(2.0, "n"),
    (Inner(), Inner(1.0, "m")),
)  # fmt: skip


def test_what_was_written_comes_back() -> None:
    assert from_json(Outer, as_json(asdict(OUTER)), "o.json") == OUTER
    least = {"path": "x", "place": [1, 2], "inner": {"name": "n"}}
    assert from_json(Outer, least, "o.json") == Outer(
        Path("x"), Place(1, 2), inner=Inner(0.25, "n")
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"count": "4"}, "count must be a whole number, not the text '4'"),
        ({"count": True}, "count must be a whole number, not true"),
        ({"count": 4.5}, "count must be a whole number, not 4.5"),
        ({"count": 10**30}, "count must be a whole number of at most 19 digits"),
        ({"count": None}, "count must be a whole number, not null"),
        ({"limit": "x"}, "limit must be a whole number or null, not the text 'x'"),
        ({"flag": 1}, "flag must be true or false, not 1"),
        ({"kind": "c"}, "kind must be one of a, b, not the text 'c'"),
        ({"kind": ["a"]}, "kind must be one of a, b, not a list"),
        ({"names": "uv"}, "names must be a list, not the text 'uv'"),
        ({"names": ["u", 1]}, "names must be a text, not 1"),
        ({"pair": [1.0]}, "pair must be a list of 2, not of 1"),
        ({"place": [1]}, "place must be a list of 2, not of 1"),
        ({"place": {"file": 1}}, "place must be a list, not an object"),
        ({"scores": [1]}, "scores must be an object, not a list"),
        ({"scores": {"s": "high"}}, "scores.s must be a number, not the text 'high'"),
        ({"inner": 3}, "inner must be an object, not 3"),
        ({"inner": {"rat": 3}}, "unknown fields rat in inner; did you mean rate?"),
        ({"more": [{"rate": []}]}, "more.rate must be a number, not a list"),
        ({"path": 5}, "path must be a path, not 5"),
        ({"path": "a\0b"}, "path must be a path, without a zero byte"),
        ({"cuont": 5, "zz": 1}, "unknown fields cuont, zz; did you mean count?"),
        ({"x" * 500: 1}, "unknown fields xxx"),
    ],
)
def test_any_other_value_is_refused_by_name(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as error:
        from_json(Outer, {**as_json(asdict(OUTER)), **changes}, "o.json")
    assert str(error.value).startswith(f"o.json: {says}")
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("values", [3, None, [], "x"])
def test_what_is_no_object_is_refused(values: object) -> None:
    with pytest.raises(UserError, match=r"o\.json: it must be an object"):
        from_json(Outer, values, "o.json")


def test_what_is_missing_is_named() -> None:
    with pytest.raises(UserError, match=r"o\.json: missing fields path, place"):
        from_json(Outer, {}, "o.json")


@pytest.mark.parametrize(
    ("value", "hint", "wanted"),
    [
        (3, float, 3.0),
        (None, str | None, None),
        (["a"], tuple[str, ...] | None, ("a",)),
        (None, tuple[float, float] | None, None),
        ([1.0, 2], tuple[float, float] | None, (1.0, 2.0)),
        ([["a", 1]], tuple[tuple[str, int], ...], (("a", 1),)),
        ({"a": 1}, Mapping[str, float], {"a": 1.0}),
        ({"a": [1]}, Any, {"a": [1]}),
        (1.0, int | float, 1.0),
    ],
)
def test_a_value_takes_its_type(value: object, hint: Any, wanted: object) -> None:
    found = typed(hint, json.loads(json.dumps(value)), "v")
    assert found == wanted and type(found) is type(wanted)
