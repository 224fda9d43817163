"""Read the project's docstrings, which are plain text, as reStructuredText."""

import re

SECTIONS = {"Args:": "param", "Returns:": "returns", "Raises:": "raises"}
MARKUP = re.compile(r"(``.+?``|`[^`]+`)|([*|\\]|_\b|\b_(?=\W|$))")


def as_restructured(lines: list[str]) -> list[str]:
    """Return the lines of a docstring in reStructuredText.

    What is indented is shown as it stands: a formula, a drawing, a table. Sections ("Raises:")
    become lists of fields. Elsewhere `*`, `|` and `_` are themselves, not markup.
    """
    result: list[str] = []
    section, is_literal = "", False
    for number, line in enumerate(lines):
        before = lines[number - 1].strip() if number else ""
        if not line.strip():
            result.append(line)
        elif line in SECTIONS:
            section, is_literal = SECTIONS[line], False
        elif not line.startswith(" "):
            result += ["", _plain(line)] if is_literal and before else [_plain(line)]
            section, is_literal = "", False
        elif section:
            field = re.match(r" {4}(?:(\w+): )?(?! )(.*)", line)
            name = f":{section} {field[1] or ''}".rstrip() if field else ""
            result.append(f"{name}: {_plain(field[2])}" if field else _plain(line))
        elif is_literal or (before and _is_item(lines, number)):
            result.append(line if is_literal else _plain(line))
        else:
            result += ["", "::", "", line]
            is_literal = True
    return result


def _is_item(lines: list[str], number: int) -> bool:
    """Return whether an indented line goes on with the item of a list."""
    while number >= 0 and lines[number].startswith(" "):
        number -= 1
    return number >= 0 and re.match(r"([-*]|\d+\.) ", lines[number]) is not None


def _plain(line: str) -> str:
    """Escape what is markup in reStructuredText and not in a docstring."""
    bullet = re.match(r"[-*] ", line)
    start = bullet.end() if bullet else 0
    text = MARKUP.sub(lambda found: found[1] or f"\\{found[2]}", line[start:])
    return line[:start] + text
