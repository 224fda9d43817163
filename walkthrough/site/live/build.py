"""Put the model into the live page of both languages.

    runtime ─┐
    model ───┼→ scripts in SITE/live: compressed, in base64, with what page.js has to know
    code ────┘
    the element `live-model` of the page  →  the controls, and the scripts

Everything is a script, so that the page works from a folder as it does from a server.
"""

import base64
import gzip
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from plainformer.base import UserError, write_text
from plainformer.deploy import export_onnx
from plainformer.encoder import MaskedLM
from plainformer.tokenizer import WordPiece, load_tokenizer
from walkthrough.site.language import LANGUAGES
from walkthrough.site.live.runtime import fetch_runtime
from walkthrough.site.live.train import LONGEST
from walkthrough.site.live.words import EXAMPLES, WORDS

HERE = Path(__file__).parent
CODE = ("tokenizer.js", "network.js", "page.js")
PLACE = re.compile(r'<p id="live-model">.*?</p>', re.DOTALL)


def add_model(site: Path, cache: Path, train: Callable[[Path], Path]) -> str | None:
    """Put the model into the live page of a finished site.

    `train(cache)` returns the folder of the model. What is downloaded and trained stays in `cache`.
    Returns why the page stays without the model, or None.
    """
    pages = [(language.code, site / language.code / "live.html") for language in LANGUAGES]
    try:
        runtime = fetch_runtime(cache)
    except UserError as error:
        return str(error)
    folder = train(cache)
    model, tokenizer = open_model(folder)
    files = {"runtime": runtime.module, "wasm": runtime.wasm, "graph": graph(model)}
    scripts = {f"{name}.js": packed(name, data) for name, data in files.items()}
    scripts["facts.js"] = assigned("facts", facts(model, tokenizer))
    (site / "live").mkdir()
    for name, script in scripts.items():
        write_text(site / "live" / name, script)
    for name in (*CODE, "live.css"):
        shutil.copyfile(HERE / name, site / "live" / name)
    megabytes = sum(map(len, scripts.values())) / 1e6
    template = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined
    ).get_template("widget.html")
    for code, page in pages:
        words = WORDS[code] | {"loading": WORDS[code]["loading"].format(megabytes=megabytes)}
        controls = template.render(words=words, examples=EXAMPLES, scripts=[*scripts, *CODE])
        before, after = PLACE.split(page.read_text(encoding="utf-8"))
        write_text(page, before + controls + after)
    return None


def open_model(folder: Path) -> tuple[MaskedLM, WordPiece]:
    """Return the model of a folder with weights in half precision, and its tokenizer.

    The weights are rounded, and stay 32 bits wide: compressed, they take half the place.
    """
    model, tokenizer = MaskedLM.from_pretrained(folder).eval(), load_tokenizer(folder)
    assert isinstance(tokenizer, WordPiece), "tokenizer.js is WordPiece"
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.half().float())
    return model, tokenizer


def graph(model: MaskedLM) -> bytes:
    """Return the model as ONNX, with its attention weights among the outputs."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(model, path, attentions=True)
        return path.read_bytes()


def facts(model: MaskedLM, tokenizer: WordPiece) -> dict[str, Any]:
    """Return what page.js has to know of the model."""
    config = model.config
    return {
        "vocabulary": tokenizer.vocabulary,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "longest": min(LONGEST, config.max_position_embeddings),
    }


def packed(name: str, data: bytes) -> str:
    """Return a script that holds a file, compressed and in base64, as `livePage[name]`."""
    return assigned(name, base64.b64encode(gzip.compress(data, mtime=0)).decode())


def assigned(name: str, value: Any) -> str:
    """Return a script that sets `livePage[name]`."""
    return f"(globalThis.livePage ??= {{}}).{name} = {json.dumps(value)};\n"
