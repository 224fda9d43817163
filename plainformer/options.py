"""A command's options are its dataclass: read from the command line, or from the file of a run."""

import json
from collections.abc import Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import tyro

from cellar import UserError

T = TypeVar("T")


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
    if not isinstance(values, dict):
        raise UserError(f"{path} is no options file: it holds no JSON object")
    return _build(kind, values, path)


def _build(kind: type[T], values: dict[str, Any], path: Path) -> T:
    hints: dict[str, Any] = get_type_hints(kind)
    unknown = set(values) - set(hints)
    if unknown:
        raise UserError(f"{path}: unknown options {', '.join(sorted(unknown))}")
    made: dict[str, Any] = {}
    for name, value in values.items():
        hint = hints[name]
        if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, dict):
            made[name] = _build(hint, value, path)
        elif hint is Path:
            made[name] = Path(value)
        elif isinstance(value, list):
            made[name] = tuple(value)
        else:
            made[name] = value
    try:
        return kind(**made)
    except TypeError as error:
        raise UserError(f"{path}: {error}") from None
