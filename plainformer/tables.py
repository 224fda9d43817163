"""What a metric found, as tables for the terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table as Shown
from rich.text import Text

from plainformer.finetune import Metric, Table
from plainformer.finetune.metrics.base import spoken

WIDEST = 12
"""columns that a terminal can show beside each other"""


def report_table(metric: Metric[Any, Any]) -> None:
    """Print the metric's tables, and its scores; a table that is too wide is left to the report."""
    for table in metric.tables():
        if len(table.columns) <= WIDEST:
            print_table(table)
    scores = (
        f"{name.replace('_', ' ')} {spoken(value)}" for name, value in metric.scores().items()
    )
    Console(highlight=False).print(", ".join(scores), markup=False, soft_wrap=True)


def print_table(table: Table) -> None:
    """Print the columns and rows of a table; what users wrote is no markup."""
    shown = Shown(box=None, header_style="bold")
    for number, column in enumerate(table.columns):
        shown.add_column(Text(column), justify="right" if number else "left")
    for row in table.rows:
        shown.add_row(*(Text(spoken(value)) for value in row))
    Console(highlight=False).print(shown)
