"""Print the scores and tables of a metric on the terminal."""

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from plainformer.finetune import Metric, Table
from plainformer.finetune.metrics.base import spoken

MAX_COLUMNS = 12


def report_table(metric: Metric) -> None:
    """Print the tables and scores of a metric; a table wider than `MAX_COLUMNS` is left out."""
    for table in metric.tables():
        if len(table.columns) <= MAX_COLUMNS:
            print_table(table)
    scores = (
        f"{name.replace('_', ' ')} {spoken(value)}" for name, value in metric.scores().items()
    )
    Console(highlight=False).print(", ".join(scores), markup=False, soft_wrap=True)


def print_table(table: Table) -> None:
    """Print a table; brackets in its texts are not read as markup."""
    shown = RichTable(box=None, header_style="bold")
    for number, column in enumerate(table.columns):
        shown.add_column(Text(column), justify="right" if number else "left")
    for row in table.rows:
        shown.add_row(*(Text(spoken(value)) for value in row))
    Console(highlight=False).print(shown)
