"""`plainformer search [TASK] …`."""

from collections.abc import Sequence

from plainformer.options import parse
from plainformer.tables import print_table


def run(arguments: Sequence[str]) -> None:
    """Search, and print the trials."""
    from plainformer.deploy.card import write_card
    from plainformer.finetune.search import SearchConfig, run_search

    config = parse(SearchConfig, "search", arguments)
    found = run_search(config)
    for table in found.tables():
        print(f"{table.title}:")
        print_table(table)
    write_card(config.out / "best")
    print(f"the best run, with its options, is {config.out / 'best'}: trial {found.best.number}")
