"""The page in a browser: every task, attention, masks, the keyboard, Chinese, dark, the token."""

import re
import shutil
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("playwright")
pytest.importorskip("axe_playwright_python")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from plainformer.deploy.server import load_models
from plainformer.encoder import MaskedLM
from plainformer.finetune.calibration import Calibration
from plainformer.finetune.task_file import load_task, save_task
from plainformer.pretrain import fill_mask
from plainformer.tokenizer import load_tokenizer
from tests.deploy.server.conftest import WEB, served
from walkthrough.site.check import FLAGS, chromium

TEXT = "the red hen pecks"


def test_the_page_is_open_and_strict(runs):
    """Its files need no token, what it asks for does; it may load nothing from elsewhere."""
    with served(load_models([runs["labels"]]), token="t-1") as address:
        page = WEB.get(f"{address}/")
        links = re.findall(r'(?:src|href)="(page/[^"]*)"', page.text)
        for one in (page, *(WEB.get(f"{address}/{link}") for link in links)):
            assert one.status_code == 200
            policy = one.headers["content-security-policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy
        assert WEB.get(f"{address}/info").status_code == 401


@pytest.fixture(scope="module")
def browser():
    try:
        path = chromium()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=FLAGS)


@contextmanager
def visit(browser, address, expected_errors=(), **settings):
    """A page that asks this server alone, and has no error in its console."""
    context = browser.new_context(**{"locale": "en-GB", "color_scheme": "light", **settings})
    page, requests, errors = context.new_page(), [], []
    page.set_default_timeout(20_000)
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: said.type == "error" and errors.append(said.text))
    page.goto(address)
    yield page
    assert requests and all(url.startswith(f"{address}/") for url in requests)
    assert [text for text in errors if not any(one in text for one in expected_errors)] == []
    assert (
        context.cookies() == []
        and page.evaluate("localStorage.length + sessionStorage.length") == 0
    )
    context.close()


def faults(page):
    """What axe-core finds in the page as it is now."""
    page.evaluate(Axe().axe_script)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [(one["id"], node["html"][:100]) for one in found for node in one["nodes"]]


def ready(page, tab):
    """Wait until the view of a tab shows the answer, with nothing to say beside it."""
    page.wait_for_function(
        """tab => document.querySelector(`#tab-${tab}[aria-selected=true]`)
            && document.querySelector('.status').textContent === ''
            && document.querySelector('#panel > div > *')
            && !document.querySelector('#panel .attention .figure:empty')
            && !document.querySelector('#panel .masking:empty')""",
        arg=tab,
    )


def test_every_task_is_shown(browser, address, runs, post):
    with visit(browser, address) as page:
        page.wait_for_selector(".bars li")
        page.fill("#input-text", TEXT)
        (said,) = post("/predict", inputs=[TEXT], model="labels")["predictions"]
        best, share = next(iter(said["probabilities"].items()))
        page.wait_for_selector(f".chosen:has-text('{best}'):has-text('{100 * share:.1f} %')")
        for name in [*runs, "bert"]:
            page.select_option("#model", name)
            if name == "answers":  # the windows of a long passage are too much to show
                page.fill("#input-context", TEXT)
            for tab in ("attention", "compare", "predict"):
                page.click(f"#tab-{tab}")
                ready(page, tab)
            shown = {"entities": "mark", "vectors": ".vector", "bert": ".vector", "score": "strong"}
            page.wait_for_selector(f"#panel {shown.get(name, '.bars')}")


def test_entities_are_marked_at_their_characters(browser, address, post):
    text = "猫😀 the red hen 😀 ."  # characters beyond 16 bits, which JavaScript counts twice
    (said,) = post("/predict", inputs=[text], model="entities")["predictions"]
    with visit(browser, address) as page:
        page.select_option("#model", "entities")
        page.fill("#input-text", text)
        page.wait_for_selector(".tagged:has-text('猫')")
        own = "marks => marks.map(mark => mark.firstChild.data)"
        assert page.eval_on_selector_all("mark", own) == [one["text"] for one in said["entities"]]
        rows = page.locator("td.characters").all_inner_texts()
        assert rows == ["–".join(map(str, one["characters"])) for one in said["entities"]]


def test_what_people_wrote_is_text(browser, address):
    evil = "<img src=x onerror=\"document.title='run'\"> hen"
    with visit(browser, address) as page:
        for name in ("entities", "bert"):
            page.select_option("#model", name)
            page.fill("#input-text", evil)
            for tab in ("predict", "attention", "mask", "compare"):
                page.click(f"#tab-{tab}")
                ready(page, tab)
                assert page.locator("main img").count() == 0
            if name == "bert":
                page.click("#tab-mask")
                page.click(".masking button:has-text('img')")
                page.wait_for_selector("h2:has-text('img')")
                assert page.inner_text("h2") == "instead of “img”"
            else:
                page.click("#tab-predict")
                page.wait_for_selector(".tagged:has-text('<')")
        page.select_option("#model", "choice")  # an option is shown whole
        page.click("#tab-predict")
        page.fill("#input-options", f"{evil}\nhen")
        page.wait_for_selector(".bars .name:has-text('<img src=x onerror=')")
        assert page.locator("main img").count() == 0
        assert page.title() == "Plainformer"


def test_the_keyboard_is_enough_in_chinese_and_dark(browser, address, models, post):
    """From the head of the page to a masked word, without a mouse."""
    with visit(browser, address, locale="zh-CN", color_scheme="dark") as page:
        ready(page, "predict")
        assert page.get_attribute("html", "lang") == "zh-Hans"
        assert page.inner_text("#tab-attention") == "注意力" and faults(page) == []
        keys = page.keyboard
        for _ in range(3):
            keys.press("Tab")  # the languages, and the models
        keys.press("End")
        page.wait_for_function("document.getElementById('model').value === 'bert'")
        keys.press("Tab")
        keys.press("Control+A")
        keys.type(TEXT)
        keys.press("Tab")  # the tabs: for this model masks come first
        keys.press("ArrowLeft")
        ready(page, "attention")
        keys.press("Tab")  # the panel
        keys.press("Tab")  # the layers
        keys.press("ArrowRight")
        keys.press("Tab")  # the heads
        keys.press("ArrowRight")
        keys.press("Tab")  # the words
        keys.press("ArrowDown")
        page.wait_for_selector(".from .shown")
        (found,) = post("/attention", input=TEXT, model="bert", layer=0)["sequences"]
        row = found["weights"][1][1]
        best = found["words"][int(np.argmax(row))]["text"]
        page.wait_for_function(
            "() => document.querySelector('.said').textContent.startsWith('the')"
        )
        assert f"the 看向 {best}（{100 * max(row):.1f} %）" in page.inner_text(".said")
        assert faults(page) == []
        keys.press("Shift+Tab")
        keys.press("Shift+Tab")
        keys.press("Shift+Tab")
        keys.press("Shift+Tab")  # the tabs again
        keys.press("ArrowRight")
        ready(page, "mask")
        keys.press("Tab")
        keys.press("Tab")
        keys.press("ArrowRight")
        keys.press("Enter")
        page.wait_for_selector("#panel h2")
        text = TEXT.replace("red", "[MASK]")
        tokenizer = load_tokenizer(models["bert"])
        (guesses,) = fill_mask(MaskedLM.from_pretrained(models["bert"]), tokenizer, text, 8)
        shown = page.locator("#panel .bars .name").all_inner_texts()
        assert shown == [guess.token for guess in guesses]
        assert page.inner_text(".masking [aria-pressed=true]") == guesses[0].token
        assert faults(page) == []
        page.click("#languages [lang=en]")
        assert page.inner_text("#tab-mask") == "Mask"
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 375, "height": 800})
        for tab in ("predict", "attention", "mask", "compare"):
            page.click(f"#tab-{tab}")
            ready(page, tab)
            assert faults(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") == 375


def test_a_calibrated_model_says_how_sure_it_is(browser, runs, tmp_path):
    for name, calibration in (
        ("labels", Calibration(set_threshold=1.0, least_confidence=1.0)),
        ("score", Calibration(set_threshold=0.5)),
    ):
        shutil.copytree(runs[name], tmp_path / name)
        save_task(replace(load_task(runs[name]), calibration=calibration), tmp_path / name)
    models = load_models([tmp_path / "labels", tmp_path / "score"])
    with served(models) as address, visit(browser, address) as page:
        page.wait_for_selector(".hint:has-text('The model abstains')")
        for label in ("beast", "bird", "fish"):
            page.wait_for_selector(f".hint:has-text('Likely answers'):has-text('{label}')")
        page.select_option("#model", "score")
        page.wait_for_selector(".hint:has-text('Likely from')")
        assert not faults(page)


def test_a_model_without_that_head_says_so(browser, address):
    with visit(browser, address, expected_errors=["413"]) as page:
        page.click("#tab-mask")
        page.wait_for_selector("#panel:has-text('labels has no head for masked words')")
        page.click("text=Use bert")
        page.wait_for_selector(".masking button")
        page.select_option("#model", "entities")
        page.fill("#input-text", "hen " * 200)
        page.click("#tab-attention")
        page.wait_for_selector(".failed:has-text('tokens, more than 128')")


def test_the_page_asks_for_the_token(browser, runs):
    with (
        served(load_models([runs["labels"]]), token="t-1") as address,
        visit(browser, address, expected_errors=["401"]) as page,
    ):
        for token in ("no", "日"):
            page.fill("#token", token)
            page.keyboard.press("Enter")
            page.wait_for_selector("[role=alert]:has-text('does not accept')")
        page.fill("#token", "t-1")
        page.keyboard.press("Enter")
        page.wait_for_selector(".bars li")
        assert "t-1" not in page.content()
