"""Write README.md into a model folder, unless it holds one that someone has written or edited.

The last line of a card of ours is a comment with the checksum of the text above it: where they
agree, nobody has edited it, and it may be written anew.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

import yaml

from plainformer.base import UserError, write_text
from plainformer.base.say import say
from plainformer.deploy.card.facts import OPTIONS, Facts
from plainformer.deploy.card.front_matter import as_yaml
from plainformer.deploy.card.text import card_text

CARD = "README.md"
SEAL = re.compile(r"<!-- Written by Plainformer, and kept once you edit it: ([0-9a-f]{16}) -->\n")
FRONT = re.compile(r"---\n(.*?)^---\n", re.DOTALL | re.MULTILINE)
GIVEN = ("license", "language")
"""Fields that a user may have given, and that a card written anew keeps."""


def write_card(folder: Path, facts: Facts | None = None, before: Path | None = None) -> bool:
    """Write the card of the model in `folder`; tell whether that was done.

    `facts` are by default those of the files in `folder`; `before` is the folder that this one
    replaces. A card of others, or an edited one, is kept, and copied from there.
    """
    old = read_card(folder if before is None else before)
    if old is not None and not is_ours(old):
        if before is not None:
            write_text(folder / CARD, old)
        say([f"{CARD} is kept as it is: it was written or edited by hand"])
        return False
    text = card_text(Facts.of(folder) if facts is None else facts)
    kept = {} if old is None else {n: v for n, v in front_of(old).items() if n in GIVEN}
    fields = front_of(text)
    missing = {name: value for name, value in kept.items() if name not in fields}
    write_text(folder / CARD, sealed(with_fields(text, missing)))
    return True


def refresh_card(folder: Path) -> None:
    """Write the card of a run anew, after its evaluation, if the folder holds one of ours."""
    old = read_card(folder)
    if old is not None and is_ours(old) and (folder / OPTIONS).is_file():
        write_card(folder)


def add_to_card(folder: Path, given: dict[str, Any]) -> None:
    """Add fields to the card in `folder`; one that nobody has edited stays one.

    Raises `UserError` as `with_fields` does.
    """
    card = read_card(folder) or ""
    if is_ours(card):
        new = sealed(with_fields(card[: card.rfind("\n<!--")], given))
    else:
        new = with_fields(card, given)
    if new != card:
        write_text(folder / CARD, new)


def read_card(folder: Path) -> str | None:
    """Return the text of the card in a folder; None without one.

    Raises `UserError` for a file that is no text.
    """
    path = folder / CARD
    if not path.exists():
        return None
    try:
        return path.read_text(encoding="utf-8")
    except ValueError:
        raise UserError(f"{path} is not in UTF-8: save it so, or remove it") from None


def sealed(text: str) -> str:
    """Add the line that tells whether the text was edited."""
    return (
        f"{text}\n<!-- Written by Plainformer, and kept once you edit it: {checksum_of(text)} -->\n"
    )


def is_ours(card: str) -> bool:
    """Tell whether a card was written here, and not edited since."""
    start = card.rfind("\n<!--")
    found = SEAL.fullmatch(card, start + 1)
    return found is not None and found[1] == checksum_of(card[:start])


def has_seal(card: str) -> bool:
    """Tell whether a card was written here, whether or not it was edited."""
    return SEAL.search(card) is not None


def checksum_of(text: str) -> str:
    """Return the first digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def front_of(card: str) -> dict[str, Any]:
    """Return the fields of the front matter; none without it.

    Raises `UserError` where it is no YAML of fields.
    """
    found = FRONT.match(card)
    try:
        fields = yaml.safe_load(found[1]) if found else {}
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"the front matter of {CARD} is no YAML: {reason}") from None
    if fields is not None and not isinstance(fields, dict):
        raise UserError(f"the front matter of {CARD} is not a list of fields: name: value")
    return fields or {}


def with_fields(card: str, fields: dict[str, Any]) -> str:
    """Add fields to the front matter of a card, before the others, which stay as they are.

    Raises `UserError` for a field that is there with another value.
    """
    there = front_of(card)
    for name, value in fields.items():
        if name in there and there[name] != value:
            raise UserError(f"{CARD} says {name}: {there[name]} already: change it there")
    new = {name: value for name, value in fields.items() if name not in there}
    if not new:
        return card
    lines = as_yaml(new)
    found = FRONT.match(card)
    return lines + "\n" + card if found is None else lines.removesuffix("---\n") + card[4:]
