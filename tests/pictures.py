"""Draw the pictures of a run only where a test looks at them: they take longer than most runs."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from plainformer.finetune.report.figures import figures
from plainformer.training.curve import draw_curve

DRAWN = {
    "plainformer.training.run_log.draw_curve": draw_curve,
    "plainformer.finetune.run.figures": figures,
    "plainformer.finetune.multitask.outcome.figures": figures,
}


@contextmanager
def no_pictures() -> Iterator[None]:
    """Leave out the curve of a run's losses, and the figures of its metric."""
    with pytest.MonkeyPatch.context() as patch:
        for name in DRAWN:
            patch.setattr(name, lambda *_: {})
        yield


@contextmanager
def pictures() -> Iterator[None]:
    """Draw them, within `no_pictures`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, draw in DRAWN.items():
            patch.setattr(name, draw)
        yield
