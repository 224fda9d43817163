"""Write attention as one HTML page: small maps of all heads, and the chosen head by its words.

The page fetches nothing, and its policy lets no script run but its own. It holds the texts as JSON
in which no character can end the element, and its script shows them as text.
"""

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from plainformer.base import write_text
from plainformer.explain.inside.attention import STATISTICS, SequenceAttention, head_statistics
from plainformer.finetune.report.page import UNSHOWABLE

PARTS = Path(__file__).parent / "page"


def write_attention_page(path: Path, model: str, found: Sequence[SequenceAttention]) -> None:
    """Write the attention in some sequences to an HTML file, which appears when it is complete."""
    layers, heads = found[0].weights.shape[:2]
    data = {
        "layers": layers,
        "heads": heads,
        "names": list(STATISTICS.values()),
        "sequences": [sequence(one) for one in found],
    }
    style, script = (part(name) for name in ("attention.css", "attention.js"))
    digest = base64.b64encode(hashlib.sha256(f"\n{script}".encode()).digest()).decode()
    page = Template(part("attention.html")).substitute(
        title=html.escape(UNSHOWABLE.sub("\ufffd", f"Attention in {model}")),
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
        style=style,
        script=script,
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    )
    write_text(path, page)


def part(name: str) -> str:
    """Read a file of the page."""
    return (PARTS / name).read_text(encoding="utf-8")


def sequence(one: SequenceAttention) -> dict[str, Any]:
    """Return a sequence as JSON values."""
    return {
        "tokens": one.tokens,
        "words": one.words,
        "spellings": one.spellings,
        "special": one.special,
        "statistics": head_statistics([one]).flatten(1).double().numpy().round(4).tolist(),
        "weights": packed(one.weights),
    }


def packed(weights: Float[Tensor, "layers heads tokens tokens"]) -> str:
    """Pack weights as numbers of 16 bits in base64: 0 is 0, and 65,535 is 1."""
    numbers = (weights.double().numpy() * 65535).round().astype("<u2")
    return base64.b64encode(np.ascontiguousarray(numbers).tobytes()).decode()
