"""Every chapter runs, its exercises can be solved, and its two languages agree with its code."""

import ast
import re
from pathlib import Path

import pytest

from tests.processes import ROOT, run_in_process
from walkthrough.chapters import Cell, chapters, chinese, english

LANGUAGES = {"English": english, "Chinese": chinese}
FIGURE = re.compile(r"(?<![\w.,])[-−]?\d[\d,]*(?:\.\d+| ?%|\.\d+ ?%)(?!\w)")
HAN = r"[\u4e00-\u9fff]"
SLIPS = (
    rf"{HAN}[,;:?!()\"']|[,;:?!()\"']{HAN}",  # half-width punctuation
    rf"{HAN}[A-Za-z0-9]|[A-Za-z0-9%]{HAN}",  # no space between Chinese and Latin
    r" [，。：；、？！（）“”]|[，：；、（）“”] ",  # a space beside full-width punctuation
)


@pytest.mark.parametrize("chapter", chapters())
def test_a_chapter_runs_and_its_exercises_tell_right_from_wrong(
    chapter: str, tmp_path: Path
) -> None:
    code, output = run_in_process(
        "tests.programs.run_chapter", [chapter], timeout=600, folder=tmp_path
    )
    assert code == 0, output[-6000:]


@pytest.mark.parametrize("chapter", chapters())
def test_the_chinese_page_inserts_each_cell_once_in_order(chapter: str) -> None:
    names = [cell.name for cell in english(chapter) if cell.name is not None]
    assert "" not in names, "each cell of code has a name: # %% name"
    assert len(set(names)) == len(names)
    assert [cell.name for cell in chinese(chapter) if cell.name is not None] == names


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("chapter", chapters())
def test_the_figures_of_the_prose_are_those_that_the_code_claims(
    chapter: str, language: str
) -> None:
    cells = LANGUAGES[language](chapter)
    claimed = set(claims(cells))
    text = prose(cells)
    assert [figure for figure in claimed if figure not in text] == []
    numbers = {number(figure) for figure in claimed}
    assert [found for found in FIGURE.findall(text) if number(found) not in numbers] == []


@pytest.mark.parametrize("chapter", chapters())
def test_a_chapter_ends_with_three_exercises(chapter: str) -> None:
    names = [cell.name for cell in english(chapter) if cell.name is not None]
    exercises = [f"{part}-{k}" for k in (1, 2, 3) for part in ("exercise", "check", "solution")]
    assert names[-9:] == exercises
    for read in LANGUAGES.values():
        assert sum(cell.source.count("<summary>") for cell in read(chapter)) == 3  # the hints


@pytest.mark.parametrize("chapter", chapters())
def test_figures_are_described_in_both_languages(chapter: str) -> None:
    shown = [cell.name for cell in english(chapter) if cell.name and shows(cell.source)]
    assert [cell.name for cell in chinese(chapter) if cell.alt] == shown


@pytest.mark.parametrize("chapter", chapters())
def test_chinese_prose_is_set_as_chinese_is(chapter: str) -> None:
    cells = chinese(chapter)
    texts = [cell.alt or "" if cell.name else cell.source for cell in cells]
    assert slips("\n\n".join(texts)) == []


@pytest.mark.parametrize("page", ["README", "site/live/page"])
def test_other_chinese_pages_are_set_as_chinese_is(page: str) -> None:
    text = (ROOT / "walkthrough" / f"{page}.zh-CN.md").read_text(encoding="utf-8")
    assert slips(text) == []


@pytest.mark.parametrize(
    "text",
    ["一,二", "(一）", "一BERT", "BERT一", "一`x`", "$x$一", '"一"', "一 ，二", "一“x” 二", "*一*"],
)
def test_slips_of_chinese_are_found(text: str) -> None:
    assert len(slips(text)) == 1


def slips(markdown: str) -> list[str]:
    """Find slips of punctuation, spaces and emphasis beside Chinese characters."""
    text = re.sub(r"\$\$.+?\$\$|```.+?```", "\n", markdown, flags=re.DOTALL)
    text = re.sub(r"\$[^$\n]+\$|`[^`]+`|<code>.+?</code>", "x", text)
    text = re.sub(r"<[^>]+>", "\n", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text).replace("**", ""))
    italics = [part for part in re.findall(r"\*([^*\n]+)\*", text) if re.search(HAN, part)]
    text = text.replace("*", "")
    found = (match for slip in SLIPS for match in re.finditer(slip, text))
    return italics + [text[max(0, at.start() - 8) : at.end() + 8] for at in found]


def claims(cells: list[Cell]) -> list[str]:
    """The figures that the code claims, as the prose writes them."""
    calls = (
        node
        for cell in cells
        if cell.name is not None
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    )
    return [ast.literal_eval(call.args[1]) for call in calls if call.func.id == "claim"]


def shows(source: str) -> bool:
    """Whether a cell shows a figure."""
    return re.search(r"^ *show(_frames)?\(", source, re.MULTILINE) is not None


def prose(cells: list[Cell]) -> str:
    """The prose of a chapter without formulas, code and the targets of links."""
    text = "\n\n".join(cell.source for cell in cells if cell.name is None)
    text = re.sub(r"\$\$.+?\$\$|```.+?```", "", text, flags=re.DOTALL)
    return re.sub(r"\$[^$\n]+\$|`[^`]+`|\]\([^)]*\)|<[^>]+>", "", text)


def number(figure: str) -> float:
    """The number of a figure."""
    return float(figure.strip("% ").replace(",", "").replace("−", "-"))
