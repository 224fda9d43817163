"""Take the picture of the page of explanations: python -m tests.explain.screenshot RUN.

It is assets/explain.png, of a model of questions.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import sync_playwright

from plainformer.explain.attribution import Explainer
from plainformer.explain.attribution.page import write_page
from walkthrough.site.check import FLAGS, chromium

ASSETS = Path(__file__).parents[2] / "assets"
TEXTS = [
    "What is the name of the city where the first man on the moon was born ?",
    "How many people live in the capital of Peru ?",
]


def main() -> None:
    """Take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    with TemporaryDirectory() as folder, sync_playwright() as play:
        path = Path(folder) / "why.html"
        write_page(path, "questions", list(Explainer.load(run).explain(TEXTS)))
        browser = play.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": 820, "height": 600}, color_scheme="light")
        page.goto(path.as_uri())
        page.locator("[role=listbox]").first.focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        page.screenshot(path=ASSETS / "explain.png")
        browser.close()


if __name__ == "__main__":
    main()
