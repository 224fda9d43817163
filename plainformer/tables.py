"""What a metric found, as tables for the terminal."""

import math
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from finetune import Metric

WIDEST = 12
"""columns that a terminal can show beside each other"""


def report_table(metric: Metric[Any, Any]) -> None:
    """Print the metric's tables, and its scores; a table that is too wide is left to the report."""
    console = Console(highlight=False)
    for table in metric.tables():
        if len(table.columns) > WIDEST:
            continue
        shown = Table(box=None, header_style="bold")
        for number, column in enumerate(table.columns):
            shown.add_column(escape(column), justify="right" if number else "left")
        for row in table.rows:
            shown.add_row(*map(cell, row))
        console.print(shown)
    scores = (f"{name.replace('_', ' ')} {cell(value)}" for name, value in metric.scores().items())
    console.print(", ".join(scores), soft_wrap=True)


def cell(value: str | float) -> str:
    """A number to three places, a count with its commas, a text as it is."""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, int):
        return f"{value:,}"
    return "–" if math.isnan(value) else f"{value:.3f}"
