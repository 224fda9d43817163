"""A command's options are its dataclass: read from the command line, or from the file of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from inspect import getdoc
from pathlib import Path
from typing import Any, TypeVar

from plainformer.base import UserError, as_json, did_you_mean, from_json, read_json
from plainformer.base.environment import rank_and_world_size
from plainformer.line import missing, read_line

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
        show_help(kind, command, recipes)
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
        # Of two the last one counts: what the line says, it says behind the recipe.
        arguments = [*recipes.get(name or "", "").split(), *arguments]
    values = merged(given, read_line(kind, arguments))
    if lacking := missing(kind, values):
        raise UserError(f"missing {', '.join(lacking)} (see plainformer {command} --help)")
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


def show_help(kind: type[Any], command: str, recipes: Mapping[str, str]) -> None:
    """Print each option with its type, default and description; raise SystemExit(0)."""
    import tyro

    about = f"{getdoc(kind)}\n--config FILE takes options from a run's options.json."
    if recipes:
        about += f"\n--recipe NAME takes those of a recipe: {' or '.join(recipes)}."
    tyro.cli(
        kind,
        prog=f"plainformer {command}",
        description=about,
        args=["--help"],
        console_outputs=rank_and_world_size()[0] == 0,
        config=(tyro.conf.OmitArgPrefixes,),
    )
