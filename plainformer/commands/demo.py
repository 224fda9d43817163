"""`plainformer demo`."""

from collections.abc import Sequence

from plainformer.options import parse


def run(arguments: Sequence[str]) -> None:
    """Tell the whole story."""
    from plainformer.demo import DemoOptions, demo

    demo(parse(DemoOptions, "demo", arguments))
