"""Convert entities to tags of words, and back.

    EU     rejects  German  call        entities: ORG at word 0, MISC at word 2
    B-ORG  O        B-MISC  O           IOB2: B- begins an entity, I- continues it, O is outside

One rule reads IOB1, IOB2, BIOES, BILOU and BMES, and any sequence of their tags:

    a tag continues the entity before it if it is I, M, E or L, the tag before it is B, I or M,
    and both have the same type; any other tag except O begins an entity

So an I- after O or after another type begins an entity, as in `conlleval` (Tjong Kim Sang &
Buchholz 2000, https://aclanthology.org/W00-0726). A tag without a type (`B`, `I`) has the type `_`.
Predicted tags are always IOB2.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

OUTSIDE = "O"
_TAG = re.compile(r"([BIMELSU])(?:-(.+))?", re.DOTALL)
SPELLINGS = (
    (re.compile(r"(?P<position>[BIMELSU])[_.:/|](?P<type>\w.*)"), "another sign than -"),
    (re.compile(r"(?P<type>.*\w)[-_.:/|](?P<position>[BIMELSU])"), "the position behind"),
    (re.compile(r"(?P<position>[bimelsu])[-_.:/|](?P<type>\w.*)"), "a small letter"),
)
"""Patterns of unsupported spellings of entity tags, each with a description."""
_OPEN, _CONTINUING = frozenset("BIM"), frozenset("IMEL")


class Span(NamedTuple):
    """An entity: its type and its words, `words[begin:end]`."""

    type: str
    begin: int
    end: int


def is_tag(tag: str) -> bool:
    """Tell whether `tag` is an entity tag of any scheme, or O."""
    return tag == OUTSIDE or _TAG.fullmatch(tag) is not None


def are_entities(tags: Iterable[str]) -> bool:
    """Tell whether tags mark entities, or are plain labels such as parts of speech.

    They mark entities if one has the form `B-type` or `I-type`, or if all are entity tags and one
    has a type or is `B`.
    """
    known = set(tags)
    if any(re.fullmatch(r"[BI]-.+", tag, re.DOTALL) for tag in known):
        return True
    return all(map(is_tag, known)) and any("-" in tag or tag == "B" for tag in known)


def continues(tag: str, before: str) -> bool:
    """Tell whether `tag` continues the entity of the tag before it."""
    (position, kind), (last, last_kind) = _parts(tag), _parts(before)
    return position in _CONTINUING and last in _OPEN and kind == last_kind


def spans(tags: Sequence[str]) -> list[Span]:
    """Return the entities of a sentence in order; a tag of no scheme is read as O."""
    found: list[Span] = []
    before = OUTSIDE
    for place, tag in enumerate(tags):
        if continues(tag, before):
            found[-1] = found[-1]._replace(end=place + 1)
        elif _parts(tag)[1]:
            found.append(Span(_parts(tag)[1], place, place + 1))
        before = tag
    return found


def iob2(entities: Iterable[Span], length: int) -> list[str]:
    """Return the IOB2 tags of a sentence of `length` words with these entities."""
    tags = [OUTSIDE] * length
    for kind, begin, end in entities:
        tags[begin] = f"B-{kind}"
        tags[begin + 1 : end] = [f"I-{kind}"] * (end - begin - 1)
    return tags


def is_legal(tag: str, before: str) -> bool:
    """Tell whether `tag` may follow `before` in IOB2: an I- only within an entity of its type."""
    return not tag.startswith("I-") or continues(tag, before)


def scheme(sentences: Iterable[Sequence[str]]) -> str:
    """Return the name of the scheme of entity tags."""
    given = list(sentences)
    positions = {_parts(tag)[0] for tags in given for tag in tags}
    for name, marks in (("BMES", "M"), ("BILOU", "LU"), ("BIOES", "ES")):
        if positions & set(marks):
            return name
    begins = any(
        tag.startswith("I") and not continues(tag, before)
        for tags in given
        for before, tag in pairwise((OUTSIDE, *tags))
    )
    return "IOB1" if begins else "IOB2"


def lookalike(counts: Mapping[str, int]) -> str | None:
    """Describe why plain labels may be meant as entities; return None where nothing says so."""
    tags = sorted(counts)
    if all(tag.isdecimal() for tag in tags):
        return (
            "the tags are numbers, as of a ClassLabel of Hugging Face: if they stand for entities, "
            "write their names (features[…].feature.names), or all that is measured is words"
        )
    for form, example in SPELLINGS:
        found = [match for tag in tags if (match := form.fullmatch(tag))]
        outside = any(tag.upper() in ("O", "0") for tag in tags)
        if len({match["position"].upper() for match in found}) > 1 or (found and outside):
            first, kind = found[0][0], found[0]["type"]
            return (
                f"tags such as {first!r} ({example}) are not read as entities: write "
                f"{found[0]['position'].upper()}-{kind}"
            )
    if OUTSIDE in tags and 2 * counts[OUTSIDE] > sum(counts.values()):
        other = next((tag for tag in tags if tag != OUTSIDE), None)
        if other is not None:
            return (
                f"most words have the tag O, so {other!r} may be an entity: write B-{other} and "
                f"I-{other}, or all that is measured is words"
            )
    return None


@lru_cache(maxsize=4096)
def _parts(tag: str) -> tuple[str, str]:
    """Split a tag into position and type; return two empty strings for O."""
    match = _TAG.fullmatch(tag)
    return (match[1], match[2] or "_") if match else ("", "")
