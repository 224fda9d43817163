"""Define a search space: the options to search, each with a range or with choices.

    learning_rate=1e-5..1e-3    a range of numbers; on a log scale for a rate of learning, and where
                                the ends differ by a factor of ten or more
    epochs=2..6                 whole numbers, where both ends are written as whole numbers
    batch_size=16,32            choices: numbers, names, or yes,no

A name is that of an option of `finetune`, of its task or of its methods.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from plainformer.base import UserError, did_you_mean
from plainformer.finetune.config import FinetuneConfig

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ConfigT = TypeVar("ConfigT", bound="DataclassInstance")
Values = Mapping[str, Any]
"""A value for each searched option, by its name."""

NOT_SEARCHED = {
    "valid_share": "it decides on which examples a score is measured",
    "seed": "its best value would be luck",
    "seeds": "each setting is tried once",
    "folds": "each setting is tried once",
    "resume": "it changes no score",
    "select": "it decides how a score is measured",
    "checkpoint_every": "it changes no score",
    "keep": "it changes no score",
    "compile": "it changes no score",
    "activation_checkpointing": "it changes no score",
}
"""Options that are never searched, with the reason."""

NUMBER = r"[-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?|[-+]?\.\d+(?:e[-+]?\d+)?"
RANGE = re.compile(rf"({NUMBER})\.\.({NUMBER})", re.IGNORECASE)
WHOLE = re.compile(r"[-+]?\d+")
LOG_FACTOR = 10


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`."""

    low: float
    high: float
    is_whole: bool
    is_log: bool

    @property
    def ends(self) -> tuple[float, float]:
        """Return the lowest and the highest value."""
        return self.low, self.high

    def holds(self, value: Any) -> bool:
        """Tell whether a value is in the range."""
        is_one = not self.is_whole or value == int(value)
        return is_one and bool(self.low <= value <= self.high)


@dataclass(frozen=True)
class Choices:
    """A list of values."""

    ends: tuple[Any, ...]

    def holds(self, value: Any) -> bool:
        """Tell whether a value is among the choices."""
        return value in self.ends


@dataclass(frozen=True)
class Dimension:
    """A searched option."""

    field: tuple[str, ...]
    """The name of the field, after the names of the dataclasses that contain it."""
    hint: Any
    """The type of the field."""
    values: Range | Choices


Space = Mapping[str, Dimension]


def default_space(config: FinetuneConfig) -> tuple[str, ...]:
    """Write the space around the given options: rate, epochs, batch size and dropout."""
    rate, size = config.training.learning_rate, config.batch_size
    sizes = sorted({max(size // 2, config.accumulate), size, 2 * size})
    words = [
        f"learning_rate={rate / 10:g}..{rate * 10:g}",
        f"epochs={config.epochs / 2:#g}..{config.epochs * 2:#g}",
        f"batch_size={','.join(map(str, sizes))}",
    ]
    if config.dropout:
        low = config.dropout / 2 if config.robust.rdrop else 0.0  # R-Drop needs some
        words.append(f"dropout={low:#g}..{min(2 * config.dropout, 0.5):g}")
    return tuple(words)


def read_space(words: Sequence[str], config: FinetuneConfig) -> Space:
    """Read NAME=LOW..HIGH and NAME=A,B,C; raise `UserError` for what cannot be searched."""
    known = dict(searchable(config))
    space: dict[str, Dimension] = {}
    for word in words:
        given, sign, text = word.partition("=")
        name = given.removeprefix("--").replace("-", "_")
        if not sign or not text:
            raise UserError(f"--space {word}: write NAME=LOW..HIGH or NAME=A,B,C")
        if name in space:
            raise UserError(f"--space names {name} twice")
        if name in NOT_SEARCHED:
            raise UserError(f"--space: {name} is not searched: {NOT_SEARCHED[name]}")
        if name not in known:
            near = did_you_mean(name.replace("_", "-"), (key.replace("_", "-") for key in known))
            raise UserError(
                f"--space: there is no option {given!r} of numbers or choices in "
                f"{config.task.name}{near}"
            )
        field, hint = known[name]
        try:
            space[name] = Dimension(field, hint, read_values(name, text, hint))
        except UserError as error:
            raise UserError(f"--space {word}: {error}") from None
    for name in space:
        check_ends(name, space, config)
    return space


def searchable(config: Any, outer: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield the name of each option with a number or choices, with its field and its type."""
    hints = get_type_hints(type(config))
    for field in fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        if is_dataclass(value):
            yield from searchable(value, (*outer, field.name))
        elif hint in (int, float, bool) or (get_origin(hint) is Literal and field.name != "name"):
            yield field.name, ((*outer, field.name), hint)


def read_values(name: str, text: str, hint: Any) -> Range | Choices:
    """Read a range or choices of the type `hint`."""
    if ".." not in text:
        return Choices(tuple(read_value(word.strip(), hint) for word in text.split(",")))
    if hint not in (int, float):
        raise UserError(f"{name} has no range: list its choices, as {choices_of(hint)}")
    found = RANGE.fullmatch(text)
    if found is None:
        raise UserError("write a range as LOW..HIGH, such as 1e-5..1e-3")
    low, high = map(float, found.groups())
    is_whole = all(map(WHOLE.fullmatch, found.groups()))
    if hint is int and not is_whole:
        raise UserError(f"{name} is a whole number")
    if not low < high:
        raise UserError("the low end of a range must be below its high end")
    is_log = low > 0 and ("learning_rate" in name or high >= LOG_FACTOR * low)
    return Range(low, high, is_whole, is_log)


def read_value(word: str, hint: Any) -> Any:
    """Read one choice of the type `hint`."""
    if hint in (int, float):
        if re.fullmatch(NUMBER, word, re.IGNORECASE) is None:
            raise UserError(f"{word!r} is not a number")
        if hint is int and WHOLE.fullmatch(word) is None:
            raise UserError(f"{word!r} is not a whole number")
        return hint(word)
    known = {"yes": True, "no": False} if hint is bool else {str(v): v for v in get_args(hint)}
    if word not in known:
        raise UserError(f"{word!r} is not one of {choices_of(hint)}{did_you_mean(word, known)}")
    return known[word]


def choices_of(hint: Any) -> str:
    """List the values of a type as they are written in a space."""
    return "yes,no" if hint is bool else ",".join(map(str, get_args(hint)))


def check_ends(name: str, space: Space, config: FinetuneConfig) -> None:
    """Raise `UserError` for a value that goes neither with the given options nor with the space's.

    The others have their given values, or all their first ones, or all their last ones.
    """
    others = {key: dimension.values.ends for key, dimension in space.items() if key != name}
    rests: list[Values] = [{}, *({k: ends[at] for k, ends in others.items()} for at in (0, -1))]
    for value in space[name].values.ends:
        faults = []
        for rest in rests:
            try:
                with_values(config, space, {**rest, name: value})
                break
            except UserError as error:
                faults.append(error)
        else:
            raise UserError(f"--space: {faults[0]}")


def with_values(config: FinetuneConfig, space: Space, values: Values) -> FinetuneConfig:
    """Return `config` with these values; raise `UserError` where they do not go together."""
    typed = {
        space[name].field: space[name].hint(value) if space[name].hint in (int, float) else value
        for name, value in values.items()
    }
    return replaced(config, typed)


def replaced(config: ConfigT, values: Mapping[tuple[str, ...], Any]) -> ConfigT:
    """Replace fields of a dataclass, and of those within it, each dataclass once."""
    own = {field[0]: value for field, value in values.items() if len(field) == 1}
    for name in {field[0] for field in values if len(field) > 1}:
        inner = {f[1:]: value for f, value in values.items() if f[0] == name and len(f) > 1}
        own[name] = replaced(getattr(config, name), inner)
    return replace(config, **own)


def value_of(config: Any, field: Sequence[str]) -> Any:
    """Return the value of a field within its dataclasses."""
    for name in field:
        config = getattr(config, name)
    return config
