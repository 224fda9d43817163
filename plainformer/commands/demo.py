"""`plainformer demo`."""

from collections.abc import Sequence

from plainformer.options import parse


def run(arguments: Sequence[str]) -> None:
    """Run the demo."""
    from plainformer.demo import DemoOptions, demo

    demo(parse(DemoOptions, "demo", arguments))
