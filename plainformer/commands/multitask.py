"""`plainformer multitask …`."""

from collections.abc import Sequence

from plainformer.options import parse
from plainformer.tables import print_table


def run(arguments: Sequence[str]) -> None:
    """Fine-tune for several tasks, and print the score of each on its validation examples."""
    from plainformer.deploy.card import write_card
    from plainformer.finetune.multitask import MultitaskConfig, multitask
    from plainformer.training import is_main, refuse_unread

    config = parse(MultitaskConfig, "multitask", arguments)
    refuse_unread(config.training, arguments)
    outcome = multitask(config)
    if not is_main():
        return
    for name in outcome.metrics:
        write_card(config.out / name)
    print_table(outcome.table())
    print(f"each task has its model in a folder of {config.out}: {', '.join(outcome.metrics)}")
