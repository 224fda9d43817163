"""Print the help of a command: its options in groups, with type, default and description."""

import ast
import inspect
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from plainformer.base.environment import rank_and_world_size
from plainformer.line import Choice, Option, options_of

INDENT = 26
"""Columns before a description."""
MAX_WIDTH = 100


def show_help(
    kind: type[Any], choice: Choice | None, command: str, recipes: Mapping[str, str]
) -> None:
    """Print every option of a command, in the first process only."""
    if rank_and_world_size()[0] == 0:
        width = min(shutil.get_terminal_size().columns, MAX_WIDTH)
        print("\n".join(help_lines(kind, choice, command, recipes, width)))


def help_lines(
    kind: type[Any],
    choice: Choice | None,
    command: str,
    recipes: Mapping[str, str],
    width: int,
) -> Iterator[str]:
    """Yield the lines of the help: usage, what the command does, and the groups of options."""
    options = options_of(kind, choice)
    required = [head(option) for option in options if option.required]
    chosen = []
    if choice is not None:
        chosen = [choice.name if choice.is_given else f"[{choice.field.upper()}]"]
    spare = [f"[{head(option)}]" for option in options if option.positional and not option.required]
    usage = " ".join(["usage: plainformer", command, *chosen, *required, *spare, "[OPTION…]"])
    yield from textwrap.wrap(usage, width, subsequent_indent=" " * 7, break_on_hyphens=False)
    yield ""
    about = [inspect.getdoc(kind) or ""]
    about.append("--config FILE takes options from the options.json of a run.")
    if recipes:
        about.append(f"--recipe NAME takes those of a recipe: {' or '.join(recipes)}.")
    for paragraph in "\n\n".join(about).split("\n\n"):
        yield from textwrap.wrap(paragraph, width)
    for name, given in recipes.items():
        yield from entry(name, given or "all defaults", width)
    if choice is not None and choice.is_given:
        yield from ["", *entry(choice.name, f"{inspect.getdoc(choice.kinds[choice.name])}", width)]
    elif choice is not None:
        yield from ["", f"{choice.field.upper()}, each with its own --help:"]
        for name, one in choice.kinds.items():
            mark = " (default)" if name == choice.name else ""
            yield from entry(name, f"{inspect.getdoc(one)}{mark}", width)
    texts = {owner: descriptions(owner) for owner in {option.owner for option in options}}
    for group in dict.fromkeys(option.group for option in options):
        yield from ["", f"{group}:"]
        for option in options:
            if option.group == group:
                text = texts[option.owner].get(option.field[-1], "")
                yield from entry(head(option), f"{text} {default(option)}".strip(), width)


def entry(name: str, text: str, width: int) -> Iterator[str]:
    """Yield a name, and beside or below it the lines of its description."""
    first, *rest = textwrap.wrap(text, width - INDENT, break_on_hyphens=False) or [""]
    if len(name) > INDENT - 4:
        yield f"  {name}"
        rest, name, first = [first, *rest], "", ""
    if name:
        yield f"  {name:<{INDENT - 2}}{first}".rstrip()
    yield from (" " * INDENT + line for line in rest)


def head(option: Option) -> str:
    """Write an option with its values: `--epochs NUMBER`, `--[no-]select`."""
    if option.hint is bool:
        return option.name.replace("--", "--[no-]")
    if option.positional:
        return option.name + (" …" if option.size is None else "")
    return f"{option.name} {values(option)}"


def values(option: Option) -> str:
    """Write the values of an option: NUMBER, a|b, TEXT …"""
    kinds = [kind for kind in get_args(option.hint) if kind not in (NoneType, ...)]
    if get_origin(option.hint) is not tuple:
        kinds = [option.hint] if not kinds or get_origin(option.hint) is Literal else kinds
        return value(kinds[0])
    return f"{value(kinds[0])} …" if option.size is None else " ".join(map(value, kinds))


def value(kind: Any) -> str:
    """Write one value by its type."""
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    return {int: "N", float: "X", Path: "PATH"}.get(kind, "TEXT")


def default(option: Option) -> str:
    """Write the default of an option; "" where it has none."""
    if option.required:
        return "(required)"
    shown = option.default
    if shown is None or shown == ():
        return ""
    if isinstance(shown, bool):
        return f"(default: {'yes' if shown else 'no'})"
    if isinstance(shown, float):
        shown = f"{shown:g}"
    if isinstance(shown, tuple):
        shown = " ".join(map(str, shown))
    return f"(default: {shown})" if shown != "" else ""


def descriptions(kind: type[Any]) -> dict[str, str]:
    """Read the docstrings under the fields of a dataclass and of its bases."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        try:
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        except (OSError, SyntaxError):
            continue
        assert isinstance(tree, ast.ClassDef)
        for field, text in pairwise(tree.body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                found[ast.unparse(field.target)] = " ".join(str(text.value.value).split())
    return found
