"""`plainformer finetune [TASK] …`."""

from collections.abc import Sequence

from plainformer.base import plural
from plainformer.options import parse
from plainformer.tables import print_table, report_table


def run(arguments: Sequence[str]) -> None:
    """Fine-tune, and print the scores on the validation examples."""
    from plainformer.deploy.card import write_card
    from plainformer.finetune import FinetuneConfig, Summary, finetune
    from plainformer.training import is_main, refuse_unread

    config = parse(FinetuneConfig, "finetune", arguments)
    refuse_unread(config.training, arguments)
    result = finetune(config)
    if not is_main():
        return
    write_card(config.out)
    if isinstance(result, Summary):
        for table in result.tables():
            print(f"{table.title}:")
            print_table(table)
        print(
            f"the model of the run {result.model!r}, with tokenizer and labels, is in {config.out}"
        )
        return
    if result.num_cut:
        cut = plural(result.num_cut, "training text was", "training texts were")
        print(f"{cut} cut to {result.max_length} tokens")
    for table in result.tables:
        print_table(table)
    report_table(result.metric)
    print(f"the model with its tokenizer and labels, and its pictures, are in {config.out}")
