"""Parse the arguments of a command into the values of its options.

    --vocab-size 800 --files a.txt b.txt --no-lowercase   →   {"vocab_size": 800, …}

An option is a field of the command's dataclass, `--name VALUE` or `--name=VALUE`; one with several
values takes all words up to the next option, a repeated option overrides the earlier one, and a
boolean field is `--name` or `--no-name`. Fields of nested dataclasses (the settings of training)
are options, too. Where a field holds one of several dataclasses (`OneOf`: the tasks of finetune),
the first argument may name one, and only its fields are options. Errors are one line, with the
closest existing name.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from plainformer.base import OneOf, UserError, did_you_mean

T = TypeVar("T")
Positional = Annotated[T, "positional"]
"""The type of a field that is given without a name: `model: Positional[Path]`."""

IS_OPTION = re.compile(r"--[A-Za-z][\w-]*(=.*)?", re.DOTALL)
MAY_BE_EMPTY = ("prompt", "template", "text", "verbaliser")
"""Options that accept the empty string; others name something."""
LONGEST_NUMBER = 40
"""The most characters of a number."""


@dataclass(frozen=True)
class Option:
    """An option: a field of a command's dataclass."""

    field: tuple[str, ...]
    """The name of the field, after the names of the dataclasses that contain it."""
    hint: Any
    positional: bool
    default: Any
    """MISSING for a required option."""
    group: str
    """The heading in the help."""
    owner: Any
    """The dataclass that declares the field."""

    @property
    def required(self) -> bool:
        """Tell whether the option must be given."""
        return self.default is MISSING

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


@dataclass(frozen=True)
class Choice:
    """A field that holds one of several dataclasses, and the name of the chosen one."""

    field: str
    kinds: Mapping[str, Any]
    name: str
    is_given: bool
    """True where the arguments name it."""


def choice_of(kind: Any, words: Sequence[str], given: Mapping[str, Any]) -> Choice | None:
    """Find the choice that the first argument makes, else `given`, else the default.

    None where no field holds one of several dataclasses.

    Raises:
        UserError: names the first argument if there is no such dataclass.
    """
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        for mark in getattr(hints[field.name], "__metadata__", ()):
            if not isinstance(mark, OneOf):
                continue
            if words and not words[0].startswith("-"):
                if words[0] not in mark.kinds:
                    hint = did_you_mean(words[0], mark.kinds) or f": {', '.join(mark.kinds)}"
                    raise UserError(f"there is no {field.name} {words[0]!r}{hint}")
                return Choice(field.name, mark.kinds, words[0], True)
            chosen = given.get(field.name) or vars(default_of(field))
            return Choice(field.name, mark.kinds, chosen["name"], False)
    return None


def default_of(field: Field[Any]) -> Any:
    """Return the default of a field; MISSING where it has none."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def options_of(
    kind: Any,
    choice: Choice | None = None,
    outer: tuple[str, ...] = (),
    values: Any = None,
    group: str = "options",
) -> list[Option]:
    """List the options that a dataclass declares, with those of the dataclasses within it.

    The defaults are those of the fields, or of the instance `values`. Fields that the dataclass
    names in `HIDDEN` are no options.
    """
    hints, marked = get_type_hints(kind), get_type_hints(kind, include_extras=True)
    groups, found = getattr(kind, "GROUPS", {}), list[Option]()
    hidden = getattr(kind, "HIDDEN", ())
    for field in fields(kind):
        if field.name in hidden:
            continue
        hint, marks = hints[field.name], getattr(marked[field.name], "__metadata__", ())
        name, group = (*outer, field.name), groups.get(field.name, group)
        default = getattr(values, field.name) if values else default_of(field)
        if choice is not None and not outer and field.name == choice.field:
            inner = options_of(choice.kinds[choice.name], None, name, None, group)
            found += [option for option in inner if option.field[-1] != "name"]
        elif is_dataclass(hint):
            found += options_of(hint, None, name, default, group)
        else:
            found.append(Option(name, hint, "positional" in marks, default, group, kind))
    return found


def options_of_others(options: Sequence[Option], choice: Choice) -> dict[str, str]:
    """Map each option that only other choices have to the end of its error message."""
    found: dict[str, list[str]] = {}
    for name, kind in choice.kinds.items():
        for option in options_of(kind):
            found.setdefault(option.name, []).append(name)
    ours = {option.name for option in options} | {"--name"}
    return {
        f"--{choice.field}": f": the first argument is the {choice.field}",
        **{o: f" of {choice.name}, but of {', '.join(found[o])}" for o in found if o not in ours},
    }


def read_line(
    options: Sequence[Option], words: Sequence[str], others: Mapping[str, str]
) -> dict[str, Any]:
    """Parse the arguments into nested dictionaries of JSON values.

    `others` maps options of other choices to the end of their error message.

    Raises:
        UserError: names the option that is unknown, or lacks a value or has a wrong one.
    """
    values = dict[str, Any]()
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
        option, is_true = find(given.replace("_", "-"), named, others)
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


def missing(options: Sequence[Option], values: Mapping[str, Any]) -> list[str]:
    """List the required options without a value."""
    return [option.name for option in options if option.required and not has(values, option.field)]


def has(values: Mapping[str, Any], field: Sequence[str]) -> bool:
    """Tell whether nested dictionaries have a value for a field."""
    for name in field[:-1]:
        values = values.get(name, {})
    return field[-1] in values


def find(name: str, named: Mapping[str, Option], others: Mapping[str, str]) -> tuple[Option, bool]:
    """Find the option of this name; return it, and False for its --no-… form."""
    if name in named:
        return named[name], True
    positive_name = "--" + name.removeprefix("--no-")
    positive = named.get(positive_name)
    if name.startswith("--no-") and positive is not None and positive.hint is bool:
        return positive, False
    advice = others.get(name) or others.get(positive_name) or did_you_mean(name, named)
    raise UserError(f"there is no option {name}{advice}")


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
