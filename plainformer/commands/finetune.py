"""`plainformer finetune …`."""

from collections.abc import Sequence

from plainformer.options import parse
from plainformer.tables import report_table


def run(arguments: Sequence[str]) -> None:
    """Fine-tune, and show how the model does on the validation examples."""
    from finetune import FinetuneConfig, finetune

    config = parse(FinetuneConfig, "finetune", arguments)
    outcome = finetune(config)
    if outcome.num_cut:
        print(f"{outcome.num_cut:,} training texts were cut to {config.max_length} tokens")
    report_table(outcome.metric)
    print(f"the model with its tokenizer and labels, and its pictures, are in {config.out}")
