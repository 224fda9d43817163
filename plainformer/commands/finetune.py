"""`plainformer finetune …`."""

from collections.abc import Sequence

from plainformer.base import UserError, plural
from plainformer.options import parse
from plainformer.tables import print_table, report_table


def run(arguments: Sequence[str]) -> None:
    """Fine-tune, once or several times, and show how the model does on the validation examples."""
    from plainformer.finetune import FinetuneConfig, finetune, several

    if any(argument.partition("=")[0] == "--steps" for argument in arguments):
        raise UserError("--steps: fine-tuning goes by --epochs, from which the steps follow")
    config = parse(FinetuneConfig, "finetune", arguments)
    if config.seeds > 1 or config.search or config.folds:
        summary = several(config)
        for table in summary.tables():
            print(f"{table.title}:")
            print_table(table)
        print(
            f"the model of the run {summary.model!r}, with tokenizer and labels, is in {config.out}"
        )
        return
    outcome = finetune(config)
    if outcome.num_cut:
        cut = plural(outcome.num_cut, "training text was", "training texts were")
        print(f"{cut} cut to {outcome.max_length} tokens")
    report_table(outcome.metric)
    print(f"the model with its tokenizer and labels, and its pictures, are in {config.out}")
