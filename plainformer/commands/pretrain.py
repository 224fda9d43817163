"""`plainformer pretrain …`."""

from collections.abc import Sequence

from plainformer.options import parse


def run(arguments: Sequence[str]) -> None:
    """Pretrain, and say what came of it."""
    from pretrain import PretrainConfig, pretrain

    config = parse(PretrainConfig, "pretrain", arguments)
    result = pretrain(config)
    last = result.last
    print(
        f"held-out loss {last['loss']:.3f}, perplexity {last['perplexity']:.1f}, "
        f"accuracy {last['accuracy']:.1%}, after {result.tokens:,} tokens; the model, its curve "
        f"and its log are in {config.out}"
    )
