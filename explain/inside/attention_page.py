"""Write attention as one HTML page: small maps of all heads, and the chosen head by its words.

It holds the texts as JSON in which no character can end the element; its script shows them as text.
"""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from plainformer.base import UserError
from plainformer.explain.inside.attention import STATISTICS, SequenceAttention, head_statistics
from plainformer.explain.page import write_html

MOST_NUMBERS = 2**24
"""Weights that a page can hold: 45 MB."""
PARTS = Path(__file__).parent / "page"
ABOUT = (
    "Each small map is a head, and each row of maps a layer: the stronger the colour, the more a "
    "word (down) looks at another (across). Choose a head by a click or by the arrow keys."
)
BODY = """<div id="choices"></div>
<div id="views">
<div id="heads" role="group" aria-label="Heads"></div>
<section id="head" aria-labelledby="name"></section>
</div>
<script type="application/json" id="data">{}</script>"""


def write_attention_page(path: Path, model: str, found: Sequence[SequenceAttention]) -> None:
    """Write the attention in some sequences to an HTML file, which appears when it is complete."""
    layers, heads = found[0].weights.shape[:2]
    data = {
        "layers": layers,
        "heads": heads,
        "names": list(STATISTICS.values()),
        "sequences": [sequence(one) for one in found],
    }
    written = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    style, script = (
        (PARTS / f"attention.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")
    )
    write_html(path, f"Attention in {model}", ABOUT, BODY.format(written), style, script)


def refuse_large_page(found: Sequence[SequenceAttention]) -> None:
    """Raise `UserError` for more weights than a page can hold."""
    if sum(one.weights.numel() for one in found) > MOST_NUMBERS:
        raise UserError("the page would be larger than 45 MB: give fewer texts, or shorter ones")


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
