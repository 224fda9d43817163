"""Write explanations as one HTML page that can be sent to a colleague.

Words that speak for the decision are orange, words against it blue and underlined with dashes, so
that the difference shows without colour, too.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from plainformer.explain.attribution.explainer import Explanation
from plainformer.explain.page import shown, write_html

STYLE = """
.for, .against { border-radius: .25rem; padding: .1rem 0; }
.for { background: rgb(var(--for) / var(--size)); }
.against { background: rgb(var(--against) / var(--size)); border-bottom: 2px dashed
  rgb(var(--against)); }
"""


def write_page(path: Path, model: str, found: Iterable[Sequence[Explanation]]) -> None:
    """Write the explanations of some inputs to an HTML file, which appears when it is complete."""
    articles = [article(one) for explanations in found for one in explanations]
    about = "Orange words speak for the decision; blue words, underlined with dashes, against it."
    write_html(path, f"Why {model} says so", about, "\n".join(articles), STYLE)


def article(one: Explanation) -> str:
    """Return one explanation as HTML: the texts with coloured words, and a table of all words."""
    texts = "\n".join(
        f'<p class="text" dir="auto">{coloured(one, number)}</p>'
        for number in range(len(one.texts))
    )
    rows = "".join(
        f'<tr><td dir="auto">{shown(word.string)}</td><td>{score:+.3f}</td>'
        f"<td>{word.text + 1}: {word.start}–{word.end}</td></tr>"
        for word, score in one.ranked()
    )
    return (
        f'<article>\n<h2 dir="auto">{shown(one.decision)}</h2>\n'
        f'<p class="faint">{shown(summary(one))}</p>\n{texts}\n'
        f"<details><summary>Every word</summary>\n<table><thead><tr><th>word</th>"
        f"<th>attribution</th><th>text: characters</th></tr></thead>\n<tbody>{rows}</tbody></table>"
        f'\n<p class="faint">{shown(quality(one))}</p></details>\n</article>'
    )


def coloured(one: Explanation, text: int) -> str:
    """Return a text with a mark around each of its words, as strong as its attribution."""
    whole, parts, last = one.texts[text], [], 0
    largest = float(np.abs(one.attributions).max()) or 1.0
    words = zip(one.words, one.attributions, strict=True)
    pieces = sorted((w.start, w.end, float(a)) for w, a in words if w.text == text)
    for (start, end), same in groupby(pieces, key=lambda piece: piece[:2]):
        score = sum(score for *_, score in same)
        if start < last or start == end:
            continue
        kind = "for" if score >= 0 else "against"
        size = round(0.85 * abs(score) / largest, 2)
        mark = f'<span class="{kind}" style="--size:{size}" title="{score:+.3f}">'
        word = (
            f"{mark}{shown(whole[start:end])}</span>" if size >= 0.03 else shown(whole[start:end])
        )
        parts += [shown(whole[last:start]), word]
        last = end
    return "".join([*parts, shown(whole[last:])])


def summary(one: Explanation) -> str:
    """Say how certain the decision is, and by which method it is explained."""
    return f"certainty {one.certainty:.3f}, value {one.value:+.3f}, by {one.method}"


def quality(one: Explanation) -> str:
    """Say how good the explanation is, beside a random one."""
    judged = one.judged
    parts = [
        f"comprehensiveness {judged.comprehensiveness:.3f} (random "
        f"{judged.random_comprehensiveness:.3f}; higher is better)",
        f"sufficiency {judged.sufficiency:.3f} (random {judged.random_sufficiency:.3f}; lower is "
        "better)",
    ]
    if one.gap is not None:
        parts.append(f"completeness gap {100 * one.gap:.2f} %")
    if one.stability is not None:
        parts.append(f"stability over two seeds {one.stability:.2f}")
    return "; ".join(parts)
