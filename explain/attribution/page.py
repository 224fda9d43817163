"""Write explanations as one HTML page that can be sent to a colleague.

Words that speak for the decision are orange, words against it blue and underlined with dashes, so
that the difference shows without colour, too. The keyboard goes through them: see `words.js`.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from plainformer.explain.attribution.explainer import Explanation
from plainformer.explain.page import shown, write_html

STYLE = """
[role=listbox] { outline-offset: .3rem; border-radius: .25rem; }
[role=option] { cursor: default; border-radius: .25rem; padding: .1rem 0; }
[role=option][aria-selected=true] { outline: 2px solid var(--text); }
.for { background: rgb(var(--for) / var(--size)); }
.against { background: rgb(var(--against) / var(--size)); border-bottom: 2px dashed
  rgb(var(--against)); }
main > .faint { margin-bottom: 1.2rem; }
.said { min-height: 1.6em; font-variant-numeric: tabular-nums; }
"""
FAINT = 0.03
"""Words that count less than this, of the one that counts most, are not coloured."""


def write_page(path: Path, model: str, found: Iterable[Sequence[Explanation]]) -> None:
    """Write the explanations of some inputs to an HTML file, which appears when it is complete."""
    every = [one for explanations in found for one in explanations]
    articles = "\n".join(article(one, number) for number, one in enumerate(every, start=1))
    about = (
        "Orange words speak for the decision; blue words, underlined with dashes, against it. Tab "
        "goes from text to text, the arrow keys from word to word."
    )
    script = Path(__file__).with_name("words.js").read_text(encoding="utf-8")
    write_html(path, f"Why {model} says so", about, articles, STYLE, script)


def article(one: Explanation, number: int) -> str:
    """Return one explanation as HTML: the texts with coloured words, and a table of all words."""
    texts = "\n".join(words_of_text(one, text, number) for text in range(len(one.texts)))
    rows = "".join(
        f'<tr><td dir="auto">{shown(word.string)}</td><td>{score:+.3f}</td>'
        f"<td>{word.text + 1}: {word.start}–{word.end}</td></tr>"
        for word, score in one.ranked()
    )
    return (
        f'<article>\n<h2 dir="auto">{shown(one.decision)}</h2>\n'
        f'<p class="faint">{shown(summary(one))}</p>\n{texts}\n'
        f'<p class="said" role="status"></p>\n'
        f"<details><summary>Every word</summary>\n<table><thead><tr><th>word</th>"
        f"<th>attribution</th><th>text: characters</th></tr></thead>\n<tbody>{rows}</tbody></table>"
        f'\n<p class="faint">{shown("; ".join(quality(one)))}</p></details>\n</article>'
    )


def words_of_text(one: Explanation, text: int, number: int) -> str:
    """Return a text whose words can be chosen, if it has any."""
    if all(word.text != text for word in one.words):
        return f'<p class="text" dir="auto">{shown(one.texts[text])}</p>'
    return (
        f'<div class="text" dir="auto" role="listbox" aria-orientation="horizontal" tabindex="0" '
        f'aria-label="Words of text {text + 1} of explanation {number}">'
        f"{coloured(one, text, f'w{number}-{text}')}</div>"
    )


def coloured(one: Explanation, text: int, name: str) -> str:
    """Return a text with an element around each of its words, as strong as its attribution."""
    whole, parts, last = one.texts[text], [], 0
    largest = float(np.abs(one.attributions).max()) or 1.0
    ranks = np.argsort(np.argsort(-one.attributions, kind="stable")) + 1
    words = zip(one.words, one.attributions, ranks, strict=True)
    pieces = sorted((w.start, w.end, float(a), int(n)) for w, a, n in words if w.text == text)
    for (start, end), same in groupby(pieces, key=lambda piece: piece[:2]):
        scores, places = zip(*((score, rank) for *_, score, rank in same), strict=True)
        if start < last or start == end:
            continue
        score = sum(scores)
        size = round(0.85 * abs(score) / largest, 2)
        kind = "" if size < FAINT else f' class="{"for" if score >= 0 else "against"}"'
        parts += [
            shown(whole[last:start]),
            f'<span role="option" aria-selected="false" id="{name}-{start}"{kind} '
            f'style="--size:{size}" title="{score:+.3f}, number {min(places)} of {len(ranks)}">'
            f"{shown(whole[start:end])}</span>",
        ]
        last = end
    return "".join([*parts, shown(whole[last:])])


def summary(one: Explanation) -> str:
    """Say how certain the decision is, and by which method it is explained."""
    if one.value == one.certainty:  # a score, or a cosine
        return f"value {one.value:+.3f}, by {one.method}"
    return f"probability {one.certainty:.3f}, log-odds {one.value:+.3f}, by {one.method}"


def quality(one: Explanation) -> list[str]:
    """Say how good the explanation is, beside a random one."""
    judged = one.judged
    lines = [
        f"comprehensiveness {judged.comprehensiveness:.3f} (random "
        f"{judged.random_comprehensiveness:.3f}; higher is better)",
        f"sufficiency {judged.sufficiency:.3f} (random {judged.random_sufficiency:.3f}; lower is "
        "better)",
    ]
    if one.gap is not None:
        lines.append(f"completeness gap {100 * one.gap:.2f} %")
    if one.stability is not None:
        lines.append(f"stability over two seeds {one.stability:.2f}")
    return lines
