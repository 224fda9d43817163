"""Take the picture of the attention page for the README: python -m tests.explain.attention_picture.

MiniLM's fourth layer has a head in which "it" looks at what it means.
"""

import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from plainformer.explain.inside import attention_of, open_model
from plainformer.explain.inside.attention_page import write_attention_page
from walkthrough.site.check import FLAGS, chromium

TEXT = "The hen did not cross the road because it was too tired"
LAYER, HEAD = 4, 2
PICTURE = Path(__file__).parents[2] / "assets" / "attention.png"


def main() -> None:
    """Write the page, choose the head and the word, and save what is seen."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder, "attention.html")
        write_attention_page(path, "minilm", attention_of(open_model("minilm", "cpu"), [TEXT]))
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        size = {"width": 1240, "height": 840}
        page = browser.new_page(color_scheme="light", viewport=size, device_scale_factor=1.5)
        page.goto(path.as_uri())
        page.click(f"[aria-label='Layer {LAYER}, head {HEAD}']")
        page.click(".from button:has-text('it')")
        page.mouse.move(5, 5)
        page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        page.screenshot(path=PICTURE)
        browser.close()
    Image.open(PICTURE).convert("P", palette=Image.Palette.ADAPTIVE, colors=128).save(PICTURE)


if __name__ == "__main__":
    main()
