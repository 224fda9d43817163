"""Parse the arguments of a command into the values of its options.

    --vocab-size 800 --files a.txt b.txt --no-lowercase   →   {"vocab_size": 800, …}

An option is a field of the command's dataclass, `--name VALUE` or `--name=VALUE`; one with several
values takes all words up to the next option, a repeated option overrides the earlier one, and a
boolean field is `--name` or `--no-name`. Fields of nested dataclasses (the settings of training)
are options, too. Errors are one line, with the closest existing name.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro

from plainformer.base import UserError, did_you_mean

IS_OPTION = re.compile(r"--[A-Za-z][\w-]*(=.*)?", re.DOTALL)
MAY_BE_EMPTY = ("prompt", "template", "text", "verbaliser")
"""Options that accept the empty string; others name something."""
POSITIONAL = get_args(tyro.conf.Positional[int])[1:]
LONGEST_NUMBER = 40
"""The most characters of a number."""


@dataclass(frozen=True)
class Option:
    """An option: a field of a command's dataclass."""

    field: tuple[str, ...]
    """The name of the field, after the names of the dataclasses that contain it."""
    hint: Any
    positional: bool
    required: bool

    @property
    def name(self) -> str:
        """Return the name on the command line: --vocab-size, or MODEL for a positional argument."""
        name = self.field[-1].replace("_", "-")
        return name.upper() if self.positional else f"--{name}"

    @property
    def size(self) -> int | None:
        """Return the number of values; None: any number."""
        kinds = get_args(self.hint)
        if get_origin(self.hint) is tuple:
            return None if ... in kinds else len(kinds)
        return 0 if self.hint is bool else 1


def options_of(kind: Any, outer: tuple[str, ...] = ()) -> list[Option]:
    """List the options that a dataclass declares."""
    hints, found = get_type_hints(kind, include_extras=True), []
    for field in fields(kind):
        hint, name = hints[field.name], (*outer, field.name)
        positional = get_origin(hint) is Annotated and get_args(hint)[1:] == POSITIONAL
        hint = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        if is_dataclass(hint):
            found += options_of(hint, name)
        else:
            required = field.default is field.default_factory is MISSING and not outer
            found.append(Option(name, hint, positional, required))
    return found


def read_line(kind: Any, words: Sequence[str]) -> dict[str, Any]:
    """Parse the arguments into nested dictionaries of JSON values.

    Raises:
        UserError: names the option that is unknown, or lacks a value or has a wrong one.
    """
    options, values = options_of(kind), dict[str, Any]()
    named = {option.name: option for option in options if not option.positional}
    placed = [option for option in options if option.positional]
    rest: list[str] = []
    place = 0
    while place < len(words):
        word = words[place]
        place += 1
        if not IS_OPTION.fullmatch(word):
            rest += words[place:] if word == "--" else [word]
            place = len(words) if word == "--" else place
            continue
        given, has_value, value = word.partition("=")
        option, is_true = find(given.replace("_", "-"), named)
        taken = [value] if has_value else []
        while not has_value and (option.size is None or len(taken) < option.size):
            if place == len(words) or words[place] == "--" or IS_OPTION.fullmatch(words[place]):
                break
            taken.append(words[place])
            place += 1
        put(values, option.field, value_of(option, taken, is_true))
    for option in placed:
        count = len(rest) if option.size is None else option.size
        taken, rest = rest[:count], rest[count:]
        if taken:
            put(values, option.field, value_of(option, taken, True))
    if rest:
        raise UserError(f"unexpected argument {rest[0]!r}: is the name of an option missing?")
    return values


def missing(kind: Any, values: Mapping[str, Any]) -> list[str]:
    """List the required options without a value."""
    return [o.name for o in options_of(kind) if o.required and o.field[0] not in values]


def find(name: str, named: Mapping[str, Option]) -> tuple[Option, bool]:
    """Find the option of this name, and tell whether it is plain rather than --no-…."""
    if name in named:
        return named[name], True
    positive = named.get("--" + name.removeprefix("--no-"))
    if name.startswith("--no-") and positive is not None and positive.hint is bool:
        return positive, False
    raise UserError(f"there is no option {name}{did_you_mean(name, named)}")


def value_of(option: Option, words: Sequence[str], is_true: bool) -> Any:
    """Convert the words after an option to its JSON value."""
    name, size = option.name, option.size
    if option.hint is bool:
        if words:
            raise UserError(f"{name} takes no value: say {name}, or {name.replace('--', '--no-')}")
        return is_true
    if (size is None and not words and option.required) or (size or 0) > len(words):
        raise UserError(f"{name} needs {'a value' if size in (None, 1) else f'{size} values'}")
    kinds = get_args(option.hint)
    if get_origin(option.hint) is not tuple:
        return one(option, option.hint, words[0])
    kinds = kinds[:1] * len(words) if ... in kinds else kinds
    return [one(option, kind, word) for kind, word in zip(kinds, words, strict=True)]


def one(option: Option, hint: Any, word: str) -> Any:
    """Convert one word to the type `hint`."""
    name, kinds = option.name, get_args(hint)
    if get_origin(hint) is Literal:
        if word in kinds:
            return word
        choices = ", ".join(map(str, kinds))
        raise UserError(f"{name} must be one of {choices}, not {word!r}{did_you_mean(word, kinds)}")
    kinds = kinds or (hint,)
    if NoneType in kinds and word.lower() == "none":
        return None
    if not word and option.field[-1] not in MAY_BE_EMPTY:
        raise UserError(f"{name} must not be empty")
    if str in kinds or Path in kinds:
        return word
    kind, what = (int, "a whole number") if int in kinds else (float, "a number")
    try:
        if len(word) > LONGEST_NUMBER:
            raise ValueError
        return kind(word)
    except ValueError:
        shown = word if len(word) <= LONGEST_NUMBER else word[:LONGEST_NUMBER] + "…"
        raise UserError(f"{name} must be {what}, not {shown!r}") from None


def put(values: dict[str, Any], field: Sequence[str], value: Any) -> None:
    """Set the value of a field within its dataclasses."""
    *outer, name = field
    for inner in outer:
        values = values.setdefault(inner, {})
    values[name] = value
