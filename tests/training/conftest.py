from pathlib import Path

import pytest
import torch

from tests.pictures import pictures
from tests.training import toy


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Sums depend on how many threads share them: the same here and in child processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def unbroken(one_thread, tmp_path_factory) -> Path:
    """The folder of a run that nothing has stopped."""
    out = tmp_path_factory.mktemp("unbroken") / "run"
    with pictures():
        toy.run(out)
    return out
