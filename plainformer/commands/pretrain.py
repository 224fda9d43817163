"""`plainformer pretrain …`."""

from collections.abc import Sequence

from plainformer.base import UserError
from plainformer.options import parse


def run(arguments: Sequence[str]) -> None:
    """Pretrain, and print the held-out scores."""
    from plainformer.deploy.card import write_card
    from plainformer.pretrain import RECIPES, PretrainConfig, pretrain
    from plainformer.pretrain.corpus import is_prepared
    from plainformer.training import is_main, refuse_unread

    given = {argument.partition("=")[0] for argument in arguments}
    if "--model" in given and not given & {"--recipe", "--config"}:
        arguments = ["--recipe", "continue", *arguments]
    config = parse(PretrainConfig, "pretrain", arguments, RECIPES)
    refuse_unread(config.training, arguments)
    if config.budget is not None and "--steps" in given:
        raise UserError("--budget chooses the steps: leave out --steps, or --budget")
    if "--valid-share" in given and all(map(is_prepared, (*config.corpus, *config.replay))):
        raise UserError("a prepared corpus has its held-out part: leave out --valid-share")
    result = pretrain(config)
    if not is_main():
        return
    write_card(config.out)
    numbers = ", ".join(f"{k.replace('_', ' ')} {v:.4g}" for k, v in result.final.items())
    print(
        f"held-out {numbers}, after {result.tokens:,} tokens; the model, its curve and its log are "
        f"in {config.out}"
    )
