"""The page of attention in a browser: its numbers, keyboard, light and dark, what users wrote."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from plainformer.encoder import SequenceClassifier
from plainformer.explain.inside import attention_of
from plainformer.explain.inside.attention_page import write_attention_page
from plainformer.finetune import Predictor
from plainformer.finetune.prediction.attention import word_attention
from tests.encoder.tools import randomise
from tests.explain.browser import check_access, watched
from tests.explain.test_attribution import FIRST, SHAPE, TOKENIZER, tasks

EVIL = "</script><img src=x onerror=\"document.title='run'\"> hen \u2028 &lt; 我"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    task, *_ = tasks()["regression"]
    model = SequenceClassifier(replace(SHAPE, num_hidden_layers=2), ("score",))
    predictor = Predictor(task, randomise(model).eval(), TOKENIZER)
    found = attention_of(predictor, [FIRST, EVIL[:60]])
    path = tmp_path_factory.mktemp("attention") / "page.html"
    write_attention_page(path, "<b>model</b>", found)
    return path, found


def test_the_page_holds_no_other_element_and_no_address(written: tuple) -> None:
    source = written[0].read_text(encoding="utf-8")
    assert source.count("<script") == source.count("</script") == 2
    assert "<img" not in source and "<b>" not in source
    assert re.findall(r"https?://[^\"]*", source) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"\$(policy|title|style|script|data)", source)


def test_the_page_in_a_browser(written: tuple) -> None:
    path: Path = written[0]
    first, second = written[1]
    with watched(path) as (page, errors):
        keys = page.keyboard
        keys.press("Tab")  # the texts
        keys.press("Tab")  # words or tokens
        keys.press("Tab")  # the heads
        keys.press("ArrowDown")
        keys.press("ArrowRight")
        assert page.inner_text("h2") == "Layer 2, head 2"
        keys.press("Tab")  # the words
        word = next(number for number, tokens in enumerate(first.words) if len(tokens) > 1)
        for _ in range(word):
            keys.press("ArrowDown")
        weights = word_attention(first.weights[1, 1], list(map(list, first.words)))[word]
        shown = page.locator(".to output").all_inner_texts()
        wanted = [f"{100 * w:.1f} %" if w >= 0.02 else "" for w in weights.tolist()]
        assert shown == wanted and page.inner_text(".said").startswith(first.spellings[word])

        page.select_option("#text", "1")
        page.check("[value=tokens]")
        assert page.locator(".from button").all_inner_texts() == list(second.tokens)
        assert page.locator("main img").count() == 0
        assert page.title() == "Attention in <b>model</b>"

        check_access(page)
        injected = "() => { const s = document.createElement('script');"
        injected += " s.textContent = 'document.title = 1'; document.body.append(s); }"
        assert errors == []
        page.evaluate(injected)
        assert page.title() == "Attention in <b>model</b>"  # the policy lets no other script run
        assert "Content Security Policy" in errors.pop()
