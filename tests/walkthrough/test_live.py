"""The live page: its tokenizer is ours, its model is ours, and it works in a browser."""

import base64
import hashlib
import json
import random
import shutil
import subprocess
import threading
import unicodedata
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from playwright.sync_api import sync_playwright

from plainformer.base import UserError
from plainformer.encoder import MaskedLM
from plainformer.pretrain import fill_mask
from plainformer.tokenizer import WordPiece
from tests.processes import ROOT
from tests.walkthrough.live_model import LETTERS, VOCABULARY, save_model
from walkthrough.site.__main__ import build
from walkthrough.site.check import FLAGS, check_in_browser, chromium
from walkthrough.site.live import runtime
from walkthrough.site.live.build import HERE, add_model, open_model, packed
from walkthrough.site.live.words import EXAMPLES, WORDS

TEXTS = (
    "Plain texts.",
    "unaffordable WRITINGS, don't!",
    "The naïve façade of the Café, ΑΩΣ straße İstanbul",
    "我们中国 の。「x」，a中b",
    "a [MASK] of[MASK][SEP] [mask] [UNK]x",
    "tab\tline\r\nno\u00a0break\u3000wide \u200bzero\u0000null\ufffd \u0085 e\u0301 \u00ad",
    "emoji 😀😀 a😀b 𝒳 👩‍🔬 $1,000 <b>&amp;</b> ¿qué?",
    "a" * 100 + " " + "a" * 101,
    "",
    "  ",
)


def node(script: str, *files: str) -> Any:
    """Run a script after files of the live page under node, and return the JSON that it prints."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    source = "\n".join((HERE / name).read_text(encoding="utf-8") for name in files)
    done = subprocess.run(
        ["node", "-"], input=f"{source}\n{script}", capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def mixed_text(seed: int) -> str:
    """Characters of all scripts, of which old and new tables of Unicode say the same."""
    draw = random.Random(seed)
    old, new = unicodedata.ucd_3_2_0.category, unicodedata.category
    codes = filter(lambda code: not 0xD800 <= code < 0xE000, range(0x1FFFF))
    known = [c for c in map(chr, codes) if old(c) == new(c) != "Cn"]
    return "".join(draw.choice((draw.choice(known), draw.choice(LETTERS))) for _ in range(4000))


def test_the_tokenizer_in_javascript_is_wordpiece() -> None:
    texts = [*TEXTS, *map(mixed_text, range(3))]
    ours = WordPiece(VOCABULARY)
    script = f"""
const tokenizer = new WordPiece({json.dumps(VOCABULARY)});
const pieces = {json.dumps(texts)}.map((text) => tokenizer.pieces(text));
console.log(JSON.stringify(pieces));
"""
    for text, theirs in zip(texts, node(script, "tokenizer.js"), strict=True):
        tokens = ours.tokens(text)
        assert [piece["id"] for piece in theirs] == tokens.ids
        assert [piece["word"] for piece in theirs] == tokens.word_ids
        units = [0]  # of UTF-16 before each character
        for character in text:
            units.append(units[-1] + len(character.encode("utf-16-le")) // 2)
        places = [(units[start], units[end]) for start, end in tokens.offsets]
        assert [(piece["start"], piece["end"]) for piece in theirs] == places


def test_a_packed_file_is_unpacked_whole() -> None:
    data = random.Random(0).randbytes(10_000) + bytes(10_000)
    script = """
unpack(livePage.file).then((bytes) => console.log(JSON.stringify([...bytes])));
"""
    assert bytes(node(packed("file", data) + script, "network.js")) == data


def test_weights_are_rounded_to_half_precision(tmp_path: Path) -> None:
    save_model(tmp_path)
    rounded, _ = open_model(tmp_path)
    for ours, theirs in zip(
        MaskedLM.from_pretrained(tmp_path).parameters(), rounded.parameters(), strict=True
    ):
        assert theirs.dtype == torch.float32
        assert torch.equal(theirs, ours.half().float())


def test_both_languages_name_the_same_controls() -> None:
    english, chinese = WORDS["en"], WORDS["zh"]
    assert english.keys() == chinese.keys()
    assert english["script"].keys() == chinese["script"].keys()
    assert all(example.count("*") == 2 for example in EXAMPLES)


def test_without_npm_the_page_stays_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code in ("en", "zh"):
        (tmp_path / "site" / code).mkdir(parents=True)
        (tmp_path / "site" / code / "live.html").write_text('<p id="live-model">none</p>')
    monkeypatch.setenv("PATH", str(tmp_path))
    fault = add_model(tmp_path / "site", tmp_path / "cache", save_model)
    assert fault is not None and fault.startswith("npm is not installed")
    assert not (tmp_path / "site" / "live").exists()
    assert (tmp_path / "site/en/live.html").read_text() == '<p id="live-model">none</p>'


def test_a_runtime_with_another_checksum_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / runtime.ARCHIVE
    archive.write_bytes(b"another")
    found = base64.b64encode(hashlib.sha512(b"another").digest()).decode()
    with pytest.raises(UserError) as failure:
        runtime.fetch_runtime(tmp_path)
    assert found in str(failure.value)
    assert not archive.exists()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of one chapter and the live page, with a random model."""
    root = tmp_path_factory.mktemp("repository")
    try:
        runtime.fetch_runtime(root / "site-work" / "live")
    except UserError as error:
        pytest.skip(str(error))
    for name in ("walkthrough", "docs"):
        shutil.copytree(ROOT / "tests" / "assets" / name, root / name)
    live = root / "walkthrough" / "site" / "live"
    live.mkdir(parents=True)
    for suffix in ("", ".zh-CN"):
        shutil.copyfile(HERE / f"page{suffix}.md", live / f"page{suffix}.md")
        with (root / "walkthrough" / f"README{suffix}.md").open("a", encoding="utf-8") as index:
            index.write(f"\n[live](site/live/page{suffix}.md)\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # for the export
        model = save_model(root / "model")
        build(root / "walkthrough", root / "site", ("explain",), lambda cache: model)
    return root / "site"


@pytest.mark.slow
def test_the_live_page_works_in_a_browser(site: Path, tmp_path: Path) -> None:
    """It needs Chromium, and npm with its registry."""
    for code in ("en", "zh"):
        page = tmp_path / code / "live.html"
        page.parent.mkdir()
        shutil.copyfile(site / code / "live.html", page)
        shutil.copytree(site / code / "_static", page.parent / "_static")
    shutil.copytree(site / "live", tmp_path / "live")
    assert list(check_in_browser(tmp_path)) == []


@pytest.mark.slow
def test_guesses_are_those_of_the_model_and_no_other_host_is_asked(site: Path) -> None:
    """From a server that allows no shared memory. It needs Chromium, and npm with its registry."""
    handler = partial(SimpleHTTPRequestHandler, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        page, asked = browser.new_page(), []
        page.on("request", lambda request: asked.append(request.url))
        here = f"http://127.0.0.1:{server.server_port}"
        page.goto(f"{here}/zh/live.html")
        page.wait_for_selector("#live[data-runs]", timeout=120_000)
        assert page.evaluate("crossOriginIsolated") is False
        names = page.locator("#live .best .name").all_inner_texts()
        shares = page.locator("#live .best .share").all_inner_texts()
        server.shutdown()
    assert all(url.startswith((here, f"blob:{here}")) for url in asked)
    model, tokenizer = open_model(site.with_name("model"))
    before, _, after = EXAMPLES[0].split("*")
    (guesses,) = fill_mask(model, tokenizer, f"{before}[MASK]{after}")
    assert names == [guess.token for guess in guesses]
    for share, guess in zip(shares, guesses, strict=True):
        assert float(share.rstrip("%")) == pytest.approx(100 * guess.probability, abs=0.51)
