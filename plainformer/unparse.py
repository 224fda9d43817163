"""Write the options of a command as its arguments: the inverse of `options.parse`.

    {"model": "minilm", "epochs": 3.0, "seeds": 5, …}   →   --model minilm --seeds 5

Options that have their defaults are left out.
"""

from collections.abc import Callable, Mapping
from typing import Any

from plainformer.base import as_json
from plainformer.line import choice_of, has, options_of

Show = Callable[[str, str], str]
"""A function from the name of a field and one of its values to what is written."""


def as_it_is(name: str, value: str) -> str:
    """Return the value."""
    return value


def words_of(kind: Any, values: Mapping[str, Any], show: Show = as_it_is) -> list[str]:
    """Return the arguments that `options.parse` reads as `values`, the options of a `kind`.

    `values` are those of an `options.json`; `show` may change how a text is written. Arguments
    without a name come first, as does the choice of a task.
    """
    choice = choice_of(kind, (), values)
    placed = [] if choice is None else [choice.name]
    named: list[str] = []
    for option in options_of(kind, choice):
        if not has(values, option.field):
            continue
        value = values
        for name in option.field:
            value = value[name]
        if not option.required and as_json(value) == as_json(option.default):
            continue
        if isinstance(value, bool):
            named.append(option.name if value else option.name.replace("--", "--no-", 1))
            continue
        several = value if isinstance(value, list | tuple) else [value]
        words = [show(option.field[-1], "none" if one is None else str(one)) for one in several]
        if option.positional:
            placed += words
        elif len(words) == 1 and words[0].startswith("--"):
            named.append(f"{option.name}={words[0]}")
        else:
            named += [option.name, *words]
    return [*placed, *named]
