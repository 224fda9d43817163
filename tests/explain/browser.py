"""Open a page that was written as one file, in Chromium, and watch what it does."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def watched(path: Path) -> Iterator[tuple[Any, list[str]]]:
    """Open a page in dark colours, with its list of errors; at the end that must be empty, and no
    other file may have been asked for.
    """
    pytest.importorskip("playwright")
    from playwright.sync_api import sync_playwright

    from walkthrough.site.check import FLAGS, chromium

    try:
        program = chromium()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = browser.new_page(color_scheme="dark")
        page.set_default_timeout(20_000)
        asked: list[str] = []
        errors: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: said.type == "error" and errors.append(said.text))
        page.goto(path.as_uri())
        yield page, errors
        assert errors == [] and asked == [path.as_uri()]
        browser.close()


def check_access(page: Any) -> None:
    """Check the rules of axe-core in dark and light colours, and the width of a phone."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.evaluate(axe.axe_script)
    for scheme, width in (("dark", 1200), ("light", 375)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == width
        faults = page.evaluate("axe.run().then(found => found.violations)")
        assert [(one["id"], one["nodes"][0]["html"]) for one in faults] == []
