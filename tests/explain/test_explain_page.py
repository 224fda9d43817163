"""The page of explanations and the command: what users wrote stays text, and nothing is fetched."""

from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import pytest
from rich.console import Console

from plainformer.__main__ import main
from plainformer.commands.explain import Method
from plainformer.explain.attribution import METHODS
from plainformer.explain.attribution.page import write_page
from plainformer.explain.attribution.terminal import print_explanation
from tests.explain.test_attribution import variants
from tests.pretrain import tiny


class Page(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_what_users_wrote_stays_text(tmp_path: Path) -> None:
    _, explainer, _ = variants("classification")
    first, *_ = tiny.sentences(1)
    evil = f"{first} <img src=x onerror=alert(1)> & \x00 [bold]"
    found = list(explainer.explain([(evil, first)], "occlusion"))
    write_page(tmp_path / "why.html", "<script>", found)
    page = Page()
    page.feed(source := (tmp_path / "why.html").read_text(encoding="utf-8"))
    assert not page.tags & {"img", "script", "link", "iframe"} and "<script>" in page.text
    assert evil.replace("\x00", "\ufffd") in page.text
    assert "http" not in source.replace("http-equiv", "")
    console = Console(record=True, width=200)
    print_explanation(found[0][0], console)
    assert "[bold]" in console.export_text()


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
