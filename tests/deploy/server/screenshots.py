"""Take the pictures of the page: python -m tests.deploy.server.screenshots TAGGER MASKED_MODEL.

They are assets/page.png, English and light, of a tagger, and assets/page-zh.png, Chinese and dark,
of a masked-language model.
"""

import argparse
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from plainformer.deploy.server import load_models
from tests.deploy.server.conftest import served
from walkthrough.site.check import FLAGS, chromium

ASSETS = Path(__file__).parents[3] / "assets"
TAGGED = "Ada Lovelace met Charles Babbage in London, long before IBM was founded."
MASKED = "Doctors treat the disease with a new medicine."


def tag(page: Page) -> None:
    """Tag a sentence."""
    page.fill("#input-text", TAGGED)
    page.wait_for_selector("mark >> nth=3")


def mask(page: Page) -> None:
    """Hide a word."""
    page.fill("#input-text", MASKED)
    page.get_by_role("button", name="medicine").click()
    page.wait_for_selector("h2:has-text('medicine')")
    page.mouse.move(0, 0)


def main() -> None:
    """Take both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tagger", type=Path)
    parser.add_argument("masked", type=Path)
    given = parser.parse_args()
    with served(load_models([given.tagger, given.masked])) as address, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=FLAGS)
        for model, locale, scheme, act, name in (
            (given.tagger, "en-GB", "light", tag, "page.png"),
            (given.masked, "zh-CN", "dark", mask, "page-zh.png"),
        ):
            context = browser.new_context(
                locale=locale, color_scheme=scheme, viewport={"width": 1040, "height": 640}
            )
            page = context.new_page()
            page.goto(address)
            page.select_option("#model", model.name)
            act(page)
            page.evaluate("document.activeElement.blur()")
            page.wait_for_timeout(500)
            page.screenshot(path=ASSETS / name)
        browser.close()


if __name__ == "__main__":
    main()
