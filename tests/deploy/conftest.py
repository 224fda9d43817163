import logging
from collections.abc import Iterator

import jaxtyping
import pytest

from tests.finetune.conftest import files, models, one_thread, tokenizer  # noqa: F401


@pytest.fixture
def tracing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let models be traced: the sizes of tensors are symbols then, which no check of types knows.

    pytest records what torch logs of each node, which takes longer than the rest.
    """
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    logging.disable(logging.INFO)
    yield
    logging.disable(logging.NOTSET)
