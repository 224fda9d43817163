"""A command's options are its dataclass: read from the command line, or from the file of a run."""

import json
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from inspect import getdoc
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import tyro

from cellar import UserError

T = TypeVar("T")
WORDS = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
WORDS |= {Path: "a path", NoneType: "null"}


def parse(kind: type[T], command: str, arguments: Sequence[str]) -> T:
    """The options of `command`; `--config FILE` gives the values that are not on the line."""
    arguments = list(arguments)
    default: Any = tyro.MISSING_NONPROP
    for index, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == "--config":
            if not value and index + 1 == len(arguments):
                raise UserError("--config needs a file: the options.json of a run")
            default = load(kind, Path(value or arguments[index + 1]))
            del arguments[index : index + (1 if value else 2)]
            break
    options: T = tyro.cli(
        kind,
        prog=f"plainformer {command}",
        description=f"{getdoc(kind)} --config FILE takes options from a run's options.json.",
        args=arguments,
        default=default,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    return options


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
