"""Build a dataclass from external JSON, and check each value against the type of its field.

    entry = from_json(Entry, values, "manifest.json: shards[3]")

Supported types: int, float, str, bool, None, `Path`, `Literal`, tuples and dictionaries of these,
other dataclasses, and unions (of dataclasses: `OneOf`). A missing field takes its default. An
unknown field, or a value of another type, raises a `UserError` that names the field.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from plainformer.base.errors import UserError, did_you_mean
from plainformer.base.files import expanded
from plainformer.base.json_reader import describe_json

T = TypeVar("T")

LARGEST = 2**63 - 1
NAMES_OF_TYPES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
NAMES_OF_TYPES |= {Path: "a path", NoneType: "null"}


@dataclass(frozen=True)
class OneOf:
    """Name the dataclasses that a field may hold: `Annotated[Base, OneOf({"a": A, "b": B})]`.

    The field `name` of its JSON object tells which, and each dataclass has it as a field.
    """

    kinds: Mapping[str, Any]


def from_json(kind: type[T], values: Any, source: object = None) -> T:
    """Build a `kind` from the JSON object `values`; errors begin with `source`, if given.

    Raises:
        UserError: a field is missing, unknown or of another type, or the dataclass refuses its
            values.
    """
    try:
        return kind(**_arguments(kind, values, ""))
    except UserError as error:
        raise UserError(f"{source}: {error}" if source else str(error)) from None


def _arguments(kind: Any, values: Any, name: str) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise UserError(f"{name or 'it'} must be an object, not {describe_json(values)}")
    hints = get_type_hints(kind, include_extras=True)
    names = [field.name for field in fields(kind)]
    unknown = sorted(map(str, set(values) - set(names)))
    if unknown:
        hint = did_you_mean(unknown[0], names)
        raise UserError(f"unknown fields {_listed(unknown)}{f' in {name}' if name else ''}{hint}")
    missing = [
        field.name
        for field in fields(kind)
        if field.name not in values and field.default is field.default_factory is MISSING
    ]
    if missing:
        raise UserError(f"missing fields {_listed(missing)}{f' in {name}' if name else ''}")
    made = {}
    for field in fields(kind):
        if field.name in values:
            value, hint = values[field.name], hints[field.name]
            inner = f"{name}.{field.name}" if name else field.name
            if is_dataclass(hint) and field.default_factory is not MISSING:
                # Omitted inner fields keep this dataclass's defaults, not those of their type.
                made[field.name] = replace(
                    field.default_factory(), **_arguments(hint, value, inner)
                )
            else:
                made[field.name] = typed(hint, value, inner)
    return made


def typed(hint: Any, value: Any, name: str) -> Any:
    """Convert a JSON value to the type `hint`; errors call it `name`."""
    if get_origin(hint) is Annotated:
        hint, *marks = get_args(hint)
        for mark in marks:
            if isinstance(mark, OneOf):
                hint = _chosen(mark, value, name)
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in inner):
            return value
        shown = describe_json(value)
        raise UserError(
            f"{name} must be one of {', '.join(map(str, inner))}, not {shown}"
            + (did_you_mean(value, map(str, inner)) if isinstance(value, str) else "")
        )
    if origin is tuple or (isinstance(hint, type) and issubclass(hint, tuple)):
        return _tuple(hint, value, name)
    if origin is dict or origin is Mapping:
        if not isinstance(value, dict):
            raise UserError(f"{name} must be an object, not {describe_json(value)}")
        return {key: typed(inner[1], item, f"{name}.{key}") for key, item in value.items()}
    if is_dataclass(hint):
        assert isinstance(hint, type)
        return hint(**_arguments(hint, value, name))
    if hint is Any:
        return value
    kinds = inner or (hint,)
    for kind in kinds:
        if get_origin(kind) is not None and not isinstance(value, NoneType):
            return typed(kind, value, name)
        if type(value) is {Path: str}.get(kind, kind):
            return _plain(kind, value, name)
    if float in kinds and type(value) is int and abs(value) <= LARGEST:
        return float(value)
    allowed = " or ".join(NAMES_OF_TYPES.get(kind, str(kind)) for kind in kinds)
    raise UserError(f"{name} must be {allowed}, not {describe_json(value)}")


def _chosen(one_of: OneOf, value: Any, name: str) -> Any:
    if not isinstance(value, Mapping):
        raise UserError(f"{name} must be an object, not {describe_json(value)}")
    if "name" not in value:
        raise UserError(f"missing fields name in {name}")
    return one_of.kinds[typed(Literal[tuple(one_of.kinds)], value["name"], f"{name}.name")]


def _plain(kind: Any, value: Any, name: str) -> Any:
    if kind is int and abs(value) > LARGEST:
        raise UserError(
            f"{name} must be a whole number of at most 19 digits, not {describe_json(value)}"
        )
    if kind is not Path:
        return value
    if "\0" in value:
        raise UserError(f"{name} must be a path, without a zero byte")
    return expanded(value)


def _tuple(hint: Any, value: Any, name: str) -> Any:
    kinds = get_args(hint)
    if not kinds:  # a NamedTuple: written to JSON as a list
        kinds = tuple(get_type_hints(hint).values())
    if not isinstance(value, list):
        raise UserError(f"{name} must be a list, not {describe_json(value)}")
    if ... in kinds:
        kinds = kinds[:1] * len(value)
    if len(value) != len(kinds):
        raise UserError(f"{name} must be a list of {len(kinds)}, not of {len(value)}")
    items = [typed(kind, item, name) for kind, item in zip(kinds, value, strict=True)]
    return tuple(items) if get_origin(hint) is tuple else hint(*items)


def _listed(names: list[str]) -> str:
    shown = ", ".join(name if len(name) <= 40 else name[:40] + "…" for name in names[:5])
    return shown + (" …" if len(names) > 5 else "")
