"""`plainformer pretrain …`."""

from collections.abc import Sequence

from plainformer.options import parse


def run(arguments: Sequence[str]) -> None:
    """Pretrain, and print the held-out scores."""
    from plainformer.deploy.card import write_card
    from plainformer.pretrain import RECIPES, PretrainConfig, pretrain
    from plainformer.training import is_main

    given = {argument.partition("=")[0] for argument in arguments}
    if "--model" in given and not given & {"--recipe", "--config"}:
        arguments = ["--recipe", "continue", *arguments]
    config = parse(PretrainConfig, "pretrain", arguments, RECIPES)
    result = pretrain(config)
    if not is_main():
        return
    write_card(config.out)
    numbers = ", ".join(f"{k.replace('_', ' ')} {v:.4g}" for k, v in result.final.items())
    print(
        f"held-out {numbers}, after {result.tokens:,} tokens; the model, its curve and its log are "
        f"in {config.out}"
    )
