"""The terms of the field: each is shown where the glossary says so, and used nowhere before."""

import re
from dataclasses import replace
from functools import cache

import pytest

from tests.processes import ROOT
from tests.walkthrough.test_chapters import LANGUAGES, prose, slips
from walkthrough.chapters import chapters, english
from walkthrough.terms import Term, read_terms

TERMS = {term.en: term for term in read_terms()}
SHOWN = [
    pytest.param(name, id=f"{term.chapter}-{name}")
    for name, term in TERMS.items()
    if term.chapter in chapters()
]
LINK = re.compile(r"!?\[[^\[\]]*\]\([^()\s]+\)")


def test_no_term_is_listed_twice() -> None:
    for names in ([term.en for term in read_terms()], [term.zh for term in read_terms()]):
        assert [name for name in names if names.count(name) > 1] == []


@pytest.mark.parametrize("name", TERMS)
def test_a_meaning_is_set_as_chinese_is(name: str) -> None:
    assert slips(TERMS[name].meaning_zh) == []


@pytest.mark.parametrize("name", TERMS)
def test_a_term_is_shown_in_a_cell_or_on_a_page(name: str) -> None:
    term = TERMS[name]
    place, _, part = term.shown.partition("#")
    if term.chapter is None:
        assert (ROOT / place).is_file()
    else:
        assert part in cells_of(place)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", SHOWN)
def test_the_chapter_that_shows_a_term_names_it(name: str, language: str) -> None:
    term = TERMS[name]
    text = whole_text(term.chapter, language)
    names = [name_in(term, language), *term.also]
    if not any(re.search(word(name), text, re.IGNORECASE) for name in names):
        pytest.fail(f"{term.chapter} names it neither {' nor '.join(names)}")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", SHOWN)
def test_no_earlier_chapter_uses_a_term_but_in_a_link(name: str, language: str) -> None:
    term = TERMS[name]
    for chapter in chapters()[: chapters().index(term.chapter)]:
        text = prose_without_known(chapter, language)
        used = rf".{{0,20}}{word(name_in(term, language))}.{{0,20}}"
        if found := re.findall(used, text, re.IGNORECASE):
            pytest.fail(f"{chapter} uses it before {term.chapter} shows it: {found}")


@cache
def whole_text(chapter: str, language: str) -> str:
    """The prose and the code of a chapter in a language."""
    return plain("\n\n".join(cell.source for cell in LANGUAGES[language](chapter)))


@cache
def unlinked_prose(chapter: str, language: str) -> str:
    """The prose of a chapter in a language without its links."""
    return plain(
        prose(
            [
                replace(cell, source=LINK.sub(" ", cell.source)) if cell.name is None else cell
                for cell in LANGUAGES[language](chapter)
            ]
        )
    )


@cache
def prose_without_known(chapter: str, language: str) -> str:
    """The prose of a chapter without links and without the terms known by then.

    Those may hold a later one: "attention mask" holds "mask".
    """
    text = unlinked_prose(chapter, language)
    for known in known_at(chapter):
        text = re.sub(word(name_in(known, language)), " ", text, flags=re.IGNORECASE)
    return text


@cache
def cells_of(chapter: str) -> set[str | None]:
    """The names of the cells of a chapter."""
    return {cell.name for cell in english(chapter)}


def known_at(chapter: str) -> list[Term]:
    """The terms that a chapter or one before it shows, the longest first."""
    known = [term for term in TERMS.values() if (term.chapter or "99") <= chapter]
    return sorted(known, key=lambda term: -len(term.en))


def word(name: str) -> str:
    """An expression for a term: where it is Latin a word, in one number or the other."""
    return rf"\b{re.escape(name)}(?:s|es)?\b" if name.isascii() else re.escape(name)


def plain(text: str) -> str:
    """A text in one line, without emphasis."""
    return re.sub(r"\s+", " ", text.replace("*", ""))


def name_in(term: Term, language: str) -> str:
    """The name of a term in a language."""
    return term.zh if language == "Chinese" else term.en
