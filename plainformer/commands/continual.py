"""`plainformer continual …`."""

from collections.abc import Sequence

from plainformer.options import parse
from plainformer.tables import print_table


def run(arguments: Sequence[str]) -> None:
    """Learn tasks one after the other, and print the score of each after each step."""
    from plainformer.deploy.card import write_card
    from plainformer.finetune.continual import ContinualConfig, continual
    from plainformer.training import is_main, refuse_unread

    config = parse(ContinualConfig, "continual", arguments)
    refuse_unread(config.training, arguments)
    scores = continual(config)
    if not is_main():
        return
    for name in scores.tasks:
        write_card(config.out / name)
    print_table(scores.table())
    print(f"each task has its model in a folder of {config.out}: {', '.join(scores.tasks)}")
