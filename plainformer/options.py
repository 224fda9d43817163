"""Read a command's options, the fields of its dataclass, from the command line or from a file."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from plainformer.base import UserError, as_json, did_you_mean, from_json, read_json
from plainformer.help import show_help
from plainformer.line import choice_of, missing, options_of, options_of_others, read_line

T = TypeVar("T")
NONE: Mapping[str, str] = {}


def parse(
    kind: type[T],
    command: str,
    arguments: Sequence[str],
    recipes: Mapping[str, str] = NONE,
) -> T:
    """Parse the options of `command` from its arguments.

    `--config FILE`, or `--recipe NAME` where there are `recipes`, provides options that the
    arguments lack. `--help` prints all options and exits.

    Raises:
        UserError: one line that names the option at fault.
    """
    if any(argument in ("-h", "--help") for argument in arguments):
        show_help(kind, choice_of(kind, arguments, {}), command, recipes)
        raise SystemExit(0)
    given: dict[str, Any] = {}
    file, arguments = taken("--config", arguments, "a file: the options.json of a run")
    if file is not None:
        given = as_json(asdict(load(kind, Path(file))))  # type: ignore[call-overload]
    if recipes:
        names = " or ".join(recipes)
        name, arguments = taken("--recipe", arguments, f"a name: {names}")
        if name is not None and name not in recipes:
            hint = did_you_mean(name, recipes)
            raise UserError(f"there is no recipe {name!r}: choose {names}{hint}")
        # The last of two values counts: the user's arguments follow those of the recipe.
        arguments = [*recipes.get(name or "", "").split(), *arguments]
    choice = choice_of(kind, arguments, given)
    if choice is not None:
        arguments = arguments[choice.is_given :]
        if given.get(choice.field, {}).get("name") != choice.name:
            given[choice.field] = {"name": choice.name}
    options = options_of(kind, choice)
    others = {} if choice is None else options_of_others(options, choice)
    values = merged(given, read_line(options, arguments, others))
    if lacking := missing(options, values):
        named = command if choice is None or not choice.is_given else f"{command} {choice.name}"
        raise UserError(f"missing {', '.join(lacking)} (see plainformer {named} --help)")
    return from_json(kind, values)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two nested dictionaries; values of `above` take precedence."""
    both = {**below, **above}
    for name in below.keys() & above.keys():
        if isinstance(below[name], dict) and isinstance(above[name], dict):
            both[name] = merged(below[name], above[name])
    return both


def taken(option: str, arguments: Sequence[str], what: str) -> tuple[str | None, Sequence[str]]:
    """Remove `option` from the arguments; return its value (None if absent) and the others."""
    for index, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == option:
            rest = arguments[index + 1 :]
            if not value and not (rest and rest[0]):
                raise UserError(f"{option} needs {what}")
            return value or rest[0], [*arguments[:index], *(rest if value else rest[1:])]
    return None, arguments


def load(kind: type[T], path: Path) -> T:
    """Load the options that a run saved in `path`; raise `UserError` for an invalid file."""
    return from_json(kind, read_json(path), path)
