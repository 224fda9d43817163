"""A command's options are its dataclass: read from the command line, or from the file of a run."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from inspect import getdoc
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import tyro

from cellar import UserError

T = TypeVar("T")
NONE: Mapping[str, str] = {}
WORDS = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
WORDS |= {Path: "a path", NoneType: "null"}


def parse(
    kind: type[T],
    command: str,
    arguments: Sequence[str],
    recipes: Mapping[str, str] = NONE,
) -> T:
    """The options of `command`, as they stand on the line.

    `--config FILE`, or `--recipe NAME` where there are `recipes`, gives those that do not.
    """
    default: Any = tyro.MISSING_NONPROP
    about = f"{getdoc(kind)} --config FILE takes options from a run's options.json."
    file, arguments = taken("--config", arguments, "a file: the options.json of a run")
    if file is not None:
        default = load(kind, Path(file))
    if recipes:
        names = " or ".join(recipes)
        about += f" --recipe NAME takes those of a recipe: {names}."
        name, arguments = taken("--recipe", arguments, f"a name: {names}")
        if name is not None and name not in recipes:
            raise UserError(f"there is no recipe {name!r}: choose {names}")
        arguments = [
            *recipes.get(name or "", "").split(),
            *arguments,
        ]  # of two, the last one counts
    options: T = tyro.cli(
        kind,
        prog=f"plainformer {command}",
        description=about,
        args=arguments,
        default=default,
        console_outputs=os.environ.get("RANK", "0") == "0",
        config=(tyro.conf.OmitArgPrefixes,),
    )
    return options


def taken(option: str, arguments: Sequence[str], what: str) -> tuple[str | None, Sequence[str]]:
    """The value of `option`, None where it is not given, and the other arguments."""
    for index, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == option:
            rest = arguments[index + 1 :]
            if not value and not rest:
                raise UserError(f"{option} needs {what}")
            return value or rest[0], [*arguments[:index], *(rest if value else rest[1:])]
    return None, arguments


def load(kind: type[T], path: Path) -> T:
    """The options that a run left in `path`; `UserError` for what is not such a file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no readable options file: {error}") from None
    try:
        return kind(**_values(kind, values, "it"))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _values(kind: Any, values: Any, name: str) -> dict[str, Any]:
    """The fields of the dataclass `kind`, each of its type."""
    if not isinstance(values, dict):
        raise UserError(f"{name} must be an object with options, not {values!r}")
    hints = get_type_hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise UserError(f"unknown options {', '.join(unknown)}")
    missing = [
        field.name
        for field in fields(kind)
        if field.name not in values and field.default is field.default_factory is MISSING
    ]
    if missing:
        raise UserError(f"missing options {', '.join(missing)}")
    made = {}
    for field in fields(kind):
        if field.name in values:
            value, hint = values[field.name], hints[field.name]
            if is_dataclass(hint) and field.default_factory is not MISSING:
                changes = _values(hint, value, field.name)
                made[field.name] = replace(field.default_factory(), **changes)
            else:
                made[field.name] = _value(hint, value, field.name)
    return made


def _value(hint: Any, value: Any, name: str) -> Any:
    """`value`, as JSON has it, in the type of the field `name`."""
    kinds = get_args(hint)
    if get_origin(hint) is Literal:
        if value in kinds:
            return value
        raise UserError(f"{name} must be one of {', '.join(kinds)}, not {value!r}")
    if get_origin(hint) is tuple:
        inner = kinds[:1] * len(value) if isinstance(value, list) and ... in kinds else kinds
        if isinstance(value, list) and len(value) == len(inner):
            return tuple(_value(k, v, name) for k, v in zip(inner, value, strict=True))
        raise UserError(f"{name} must be a list, not {value!r}")
    for kind in kinds or (hint,):
        if type(value) is {Path: str}.get(kind, kind):
            return kind(value) if kind is Path else value
        if kind is float and type(value) is int:
            return float(value)
    allowed = " or ".join(WORDS[kind] for kind in kinds or (hint,))
    raise UserError(f"{name} must be {allowed}, not {value!r}")
