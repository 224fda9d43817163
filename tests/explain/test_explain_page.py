"""The page of explanations and the command: what users wrote stays text, and nothing is fetched."""

from pathlib import Path
from typing import get_args

import pytest
from rich.console import Console

from plainformer.__main__ import main
from plainformer.commands.explain import Method
from plainformer.explain.attribution import METHODS
from plainformer.explain.attribution.page import write_page
from plainformer.explain.attribution.terminal import print_explanation
from tests.explain.browser import check_access, watched
from tests.explain.page_text import Page
from tests.explain.test_attribution import variants
from tests.pretrain import tiny


def test_what_users_wrote_stays_text(tmp_path: Path) -> None:
    _, explainer, _ = variants("classification")
    first, *_ = tiny.sentences(1)
    evil = f"{first} <img src=x onerror=alert(1)> & \x00 [bold]"
    found = list(explainer.explain([(evil, first)], "occlusion"))
    write_page(tmp_path / "why.html", "<script>", found)
    page = Page()
    page.feed(source := (tmp_path / "why.html").read_text(encoding="utf-8"))
    assert not page.tags & {"img", "link", "iframe"} and source.count("</script>") == 1
    assert "Why <script> says so" in page.text
    assert evil.replace("\x00", "\ufffd") in page.text
    assert "http" not in source.replace("http-equiv", "")
    console = Console(record=True, width=200)
    print_explanation(found[0][0], console)
    assert "[bold]" in console.export_text()


def test_the_page_in_a_browser(tmp_path: Path) -> None:
    """Tab goes from text to text, the arrows from word to word; light, dark, and on a phone."""
    _, explainer, _ = variants("sentence-embedding")
    pairs = [("the red hen", "猫吃鱼 😀 hen"), ("hen " * 40, "ant")]
    found = list(explainer.explain(pairs, "occlusion"))
    path = tmp_path / "why.html"
    write_page(path, "<b>model</b>", found)
    with watched(path) as (page, _):
        keys, said = page.keyboard, page.locator(".said")
        (first,) = found[0]
        own = [[w.string for w in first.words if w.text == text] for text in (0, 1)]
        keys.press("Tab")
        assert said.first.inner_text().startswith(f"{own[0][0]}: ")
        keys.press("ArrowRight")
        assert said.first.inner_text().startswith(f"{own[0][1]}: {first.attributions[1]:+.3f}")
        keys.press("Tab")
        keys.press("End")
        rank = [w for w, _ in first.ranked()].index(first.words[-1]) + 1
        ending = f"{first.attributions[-1]:+.3f}, number {rank} of {len(first.words)}"
        assert said.first.inner_text() == f"{own[1][-1]}: {ending}"
        assert "😀" in page.locator(".text").nth(1).inner_text()
        keys.press("ArrowDown")  # the next explanation
        assert said.nth(1).inner_text().startswith("hen: ")
        keys.press("ArrowUp")
        keys.press("Tab")
        keys.press("Enter")
        assert page.locator("table").first.is_visible()
        page.locator("[role=option]").first.click()
        assert said.first.inner_text().startswith("the: ")

        check_access(page)
        assert page.title() == "Why <b>model</b> says so"


def test_methods_of_the_command_are_those_of_the_library() -> None:
    assert set(get_args(Method)) == set(METHODS)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["nowhere", "--text", "a"], "nowhere"),
        (["nowhere", "--text", "a", "--out", "why.txt"], "must end in .html"),
        (["nowhere", "--text", "a", "--limit", "0"], "limit"),
    ],
)
def test_refusals_of_the_command(
    arguments: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", *arguments]) == 2
    said = capsys.readouterr().err
    assert fault in said and "Traceback" not in said
