"""Check finished pages: python -m walkthrough.site.check [FOLDER].

Every link and anchor resolves, and nothing is loaded from another host. In a headless Chromium, no
page has an error in its console, a violation that axe-core finds, or a sideways scroll on a phone;
and the live page does what it says.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import chain
from pathlib import Path
from urllib.parse import unquote, urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, sync_playwright

from plainformer.base import plural
from walkthrough.chapters import HERE
from walkthrough.site.live.check import check_live

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]


@dataclass
class _Links(HTMLParser):
    """The anchors of a page, what it links to, and what it loads."""

    anchors: set[str] = field(default_factory=set)
    linked: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the anchor, the link and the resource of an element."""
        given = {name: value for name, value in attrs if value is not None}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.linked.append(given["href"])
        elif tag == "link" and given.get("rel") in ("stylesheet", "icon", "shortcut icon"):
            self.loaded.append(given.get("href", ""))
        elif tag != "use" and "src" in given:
            self.loaded.append(given["src"])


def check_links(folder: Path) -> list[str]:
    """Return the faults of all links between the pages of a folder, and of what they load."""
    pages = {path: _read(path) for path in sorted(folder.rglob("*.html"))}
    faults = []
    for path, page in pages.items():
        name = path.relative_to(folder)
        for link in [*page.linked, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loaded and parts.scheme != "data":
                    faults.append(f"{name}: loads {link} from another host")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.is_file():
                faults.append(f"{name}: {link} leads to no file")
            elif anchor and target in pages and anchor not in pages[target].anchors:
                faults.append(f"{name}: {link} leads to no anchor")
    faults += [
        f"{style.relative_to(folder)}: loads {link} from another host"
        for style in folder.rglob("*.css")
        for link in re.findall(r"url\(['\"]?(?:\w+:)?//[^)]*", style.read_text(encoding="utf-8"))
    ]
    return faults


def _read(path: Path) -> _Links:
    page = _Links()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def check_in_browser(folder: Path) -> Iterator[str]:
    """Iterate over the faults that a browser finds in the pages of a folder."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        for path in sorted(folder.rglob("*.html")):
            name = path.relative_to(folder)
            yield from (f"{name}: {fault}" for fault in _check_page(browser, path))


def chromium() -> str:
    """Return the path of Chromium or Chrome.

    Raises:
        FileNotFoundError: neither is installed.
    """
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise FileNotFoundError("no chromium: install it (Debian: apt install chromium)")


def _check_page(browser: Browser, path: Path) -> Iterator[str]:
    """Iterate over the faults of a page: in light, in dark, and on a phone."""
    faults: list[str] = []

    def note_message(message: ConsoleMessage) -> None:
        if message.type == "error":
            faults.append(f"console: {message.text}")

    def note_request(request: Request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            faults.append(f"loads {request.url}")

    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.on("console", note_message)
    page.on("request", note_request)
    page.on("pageerror", lambda error: faults.append(f"console: {error}"))
    page.goto(path.resolve().as_uri())
    page.wait_for_selector("#live[data-runs], :root:not(:has(#live))", state="attached")
    page.evaluate(Axe().axe_script)
    faults += _violations(page, "light")
    page.emulate_media(color_scheme="dark")
    faults += _violations(page, "dark", rules=["color-contrast"])
    page.set_viewport_size({"width": 375, "height": 800})
    if (width := page.evaluate("document.documentElement.scrollWidth")) > 375:
        faults.append(f"{width} px wide on a phone of 375 px")
    faults += _violations(page, "phone", rules=["scrollable-region-focusable"])
    try:
        faults += check_live(page)
    except Error as error:
        faults.append(f"live: {error.message.splitlines()[0]}")
    context.close()
    yield from faults


def _violations(page: Page, mode: str, rules: list[str] | None = None) -> list[str]:
    """Return what axe-core finds in a page."""
    options: dict[str, object] = {"preload": False, "resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": rules}
    found = page.evaluate("options => axe.run(document, options)", options)["violations"]
    return [
        f"axe ({mode}): {violation['id']}: {violation['help']}: {node['html'][:120]}"
        for violation in found
        for node in violation["nodes"][:3]
    ]


def main() -> int:
    """Check the pages of a folder, and print their faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=HERE.parent / "runs" / "site")
    folder = parser.parse_args().folder
    faults = []
    for fault in chain(check_links(folder), check_in_browser(folder)):
        print(fault, flush=True)
        faults.append(fault)
    print(plural(len(faults), "fault"))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
