"""Print explanations in a terminal: the texts with coloured words, and the words that decide."""

import re

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from plainformer.explain.attribution.explainer import Explanation
from plainformer.explain.attribution.page import quality, summary

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")

FIRST_WORDS = 5


def print_explanation(one: Explanation, console: Console) -> None:
    """Print one explanation."""
    console.print(f"[bold]{escape(one.decision)}[/]   {escape(summary(one))}")
    for text in range(len(one.texts)):
        console.print(coloured(one, text))
    table = Table("word", "attribution", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    order = np.argsort(-np.abs(one.attributions), kind="stable")[:FIRST_WORDS]
    for place in order:
        table.add_row(escape(one.words[place].string), f"{one.attributions[place]:+.3f}")
    console.print(table)
    console.print("".join(f"[dim]{escape(line)}[/]\n" for line in quality(one)))


def coloured(one: Explanation, text: int) -> Text:
    """Return a text whose words are orange for the decision, and blue underlined against it."""
    # rich drops control characters, which would move the words; a terminal may obey them.
    found = Text(CONTROL.sub(" ", one.texts[text]))
    largest = float(np.abs(one.attributions).max()) or 1.0
    for word, score in zip(one.words, one.attributions, strict=True):
        strength = abs(float(score)) / largest
        if word.text == text and strength >= 0.1:
            bold = "bold " if strength >= 0.5 else ""
            colour = "dark_orange" if score >= 0 else "dodger_blue1 underline"
            found.stylize(bold + colour, word.start, word.end)
    return found
