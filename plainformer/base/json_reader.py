"""Read external JSON, with limits on size and depth, and check the type of each value.

    settings = Fields(read_json(folder / "config.json"), folder / "config.json")
    layers = settings.whole("num_hidden_layers", least=1, most=10_000)
    name = settings.text("model_type", default=None)

Every fault is a `UserError` that names the file and the field. All external JSON is read here, so
that no other module meets a `RecursionError`, a `KeyError` or a string in place of a number.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

from plainformer.base.errors import UserError

T = TypeVar("T")

MAX_BYTES = 512 * 2**20
MAX_DEPTH = 64
MAX_WHOLE = 2**31 - 1
SHOWN_CHARACTERS = 60

_REQUIRED: Any = object()
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class NotJSON(UserError):
    """A text that is not valid JSON, rather than JSON of an unexpected type."""


def parse_json(text: str | bytes, source: object) -> Any:
    """Parse one JSON value; errors begin with `source` (a path, or "file:line").

    Raises:
        NotJSON: not JSON, or not UTF-8.
        UserError: nested deeper than `MAX_DEPTH`, half of a surrogate pair, or two values of one
            name.
    """
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        value = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        raise NotJSON(f"{source}: not UTF-8 text (byte {error.start})") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise NotJSON(f"{source}: not JSON ({where}column {error.colno}: {error.msg})") from None
    except ValueError:  # Python limits whole numbers to 4,300 digits
        raise UserError(f"{source}: a number in the JSON has too many digits") from None
    except RecursionError:
        raise UserError(f"{source}: JSON nested deeper than {MAX_DEPTH} levels") from None
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _refuse_depth(value, source)
    escaped = _ESCAPED_SURROGATE.search(text)  # a literal one is not UTF-8
    if escaped and _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        raise UserError(
            f"{source}: half of a surrogate pair (\\ud800 to \\udfff) is not valid text"
        )
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its names and values; raise `UserError` for two values of one name."""
    values = dict(pairs)
    if len(values) < len(pairs):
        for name, value in pairs:
            if values[name] != value:
                raise UserError(f"two values of {name!r:.60} in one JSON object: remove one")
    return values


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def _refuse_depth(value: Any, source: object) -> None:
    """Raise `UserError` for JSON that is nested too deeply, without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict | list):
                parts: Iterable[Any] = item.values() if isinstance(item, dict) else item
                inner += [part for part in parts if isinstance(part, dict | list)]
        if not inner:
            return
        level = inner
    raise UserError(f"{source}: JSON nested deeper than {MAX_DEPTH} levels")


def read_json(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Read the JSON object in a file.

    Raises:
        UserError: names the file, where it is missing, too large, not JSON, or not an object.
    """
    value = _read(path, max_bytes)
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a JSON object, but {describe_json(value)}")
    return value


def read_json_list(path: Path, max_bytes: int = MAX_BYTES) -> list[Any]:
    """Read the JSON list in a file; raise the errors of `read_json`."""
    value = _read(path, max_bytes)
    if not isinstance(value, list):
        raise UserError(f"{path}: not a JSON list, but {describe_json(value)}")
    return value


def _read(path: Path, max_bytes: int) -> Any:
    try:
        if path.stat().st_size > max_bytes:
            raise UserError(f"{path}: larger than {max_bytes / 2**20:,.0f} MiB, too large for JSON")
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read: {reason}") from None
    return parse_json(content, path)


def as_json(value: Any) -> Any:
    """Convert `value` to plain JSON types: lists for tuples, strings for paths."""
    return json.loads(json.dumps(value, default=str))


def describe_json(value: Any) -> str:
    """Describe a JSON value by its type and its beginning: "the text 'abc'"."""
    if value is None:
        return "null"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    name = "the text" if isinstance(value, str) else ""
    shown = json.dumps(value) if isinstance(value, bool) else repr(value)
    shown = shown if len(shown) <= SHOWN_CHARACTERS else shown[:SHOWN_CHARACTERS] + "…"
    return f"{name} {shown}".strip()


class Fields:
    """Read the fields of a JSON object by name, each checked for its type.

    A missing or null field has the value `default`; without a default it is an error.
    """

    def __init__(self, values: Any, source: object) -> None:
        if not isinstance(values, Mapping):
            raise UserError(f"{source}: not a JSON object, but {describe_json(values)}")
        self.values = values
        self.source = source

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def wrong(self, name: str, expected: str) -> UserError:
        """Make the error for a field that does not have the `expected` value."""
        if self.values.get(name) is None:
            return UserError(f"{self.source}: {name} is missing (expected {expected})")
        found = describe_json(self.values[name])
        return UserError(f"{self.source}: {name} must be {expected}, not {found}")

    @overload
    def text(self, name: str) -> str: ...
    @overload
    def text(self, name: str, default: T) -> str | T: ...
    def text(self, name: str, default: Any = _REQUIRED) -> Any:
        """Return a string field."""
        return self._get(name, default, lambda v: isinstance(v, str), "a text")

    @overload
    def flag(self, name: str) -> bool: ...
    @overload
    def flag(self, name: str, default: T) -> bool | T: ...
    def flag(self, name: str, default: Any = _REQUIRED) -> Any:
        """Return a boolean field."""
        return self._get(name, default, lambda v: isinstance(v, bool), "true or false")

    @overload
    def whole(self, name: str, *, least: int = ..., most: int = ...) -> int: ...
    @overload
    def whole(self, name: str, default: T, *, least: int = ..., most: int = ...) -> int | T: ...
    def whole(
        self, name: str, default: Any = _REQUIRED, *, least: int = 0, most: int = MAX_WHOLE
    ) -> Any:
        """Return an integer field within bounds; 12.0 is accepted, true is not."""

        def holds(value: Any) -> bool:
            if isinstance(value, float):
                return value.is_integer() and least <= value <= most
            return type(value) is int and least <= value <= most

        value = self._get(name, default, holds, f"a whole number from {least} to {most}")
        return int(value) if type(value) is float and name in self else value

    @overload
    def number(self, name: str, *, least: float = ..., most: float = ...) -> float: ...
    @overload
    def number(
        self, name: str, default: T, *, least: float = ..., most: float = ...
    ) -> float | T: ...
    def number(
        self,
        name: str,
        default: Any = _REQUIRED,
        *,
        least: float = -math.inf,
        most: float = math.inf,
    ) -> Any:
        """Return a finite number field within bounds."""

        def holds(value: Any) -> bool:
            if type(value) not in (int, float) or abs(value) > 1e308:
                return False
            return math.isfinite(value) and least <= value <= most

        bounds = f" from {least:g} to {most:g}" if math.isfinite(most) else ""
        bounds = f", at least {least:g}" if not bounds and math.isfinite(least) else bounds
        return self._get(name, default, holds, f"a finite number{bounds}")

    def choice(self, name: str, choices: Sequence[str], default: Any = _REQUIRED) -> Any:
        """Return a string field that must be one of `choices`."""
        expected = "one of " + ", ".join(choices)
        return self._get(name, default, lambda v: isinstance(v, str) and v in choices, expected)

    def texts(self, name: str, default: Any = _REQUIRED) -> Any:
        """Return a field that is a list of strings."""

        def holds(value: Any) -> bool:
            return isinstance(value, list) and all(isinstance(item, str) for item in value)

        return self._get(name, default, holds, "a list of texts")

    def items(self, name: str, default: Any = _REQUIRED) -> Any:
        """Return a list field, its items unchecked."""
        return self._get(name, default, lambda v: isinstance(v, list), "a list")

    def fields(self, name: str) -> "Fields":
        """Return a nested object, empty where the field is missing."""
        inner = self._get(name, {}, lambda v: isinstance(v, dict), "an object")
        return Fields(inner, f"{self.source}: {name}")

    def each(self, name: str) -> "list[Fields]":
        """Return the objects of a list field, none where it is missing."""
        found = self.items(name, [])
        return [Fields(item, f"{self.source}: {name}[{i}]") for i, item in enumerate(found)]

    def _get(self, name: str, default: Any, holds: Any, expected: str) -> Any:
        value = self.values.get(name)
        if value is None and default is not _REQUIRED:
            return default
        if value is None or not holds(value):
            raise self.wrong(name, expected)
        return value
