"""Take a picture of a page: python -m walkthrough.site.screenshot PAGE.html#ANCHOR PICTURE.png."""

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright

from walkthrough.site.check import FLAGS, chromium

SCROLL = "id => document.getElementById(id).scrollIntoView({behavior: 'instant'})"


def main() -> None:
    """Take the picture that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", help="a finished page, perhaps with #ANCHOR")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=(1200, 800), metavar="PIXELS")
    arguments = parser.parse_args()
    path, _, anchor = arguments.page.partition("#")
    width, height = arguments.size
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(Path(path).resolve().as_uri())
        if anchor:
            page.evaluate(SCROLL, anchor)
            page.wait_for_timeout(1000)
        page.screenshot(path=arguments.picture)


if __name__ == "__main__":
    main()
