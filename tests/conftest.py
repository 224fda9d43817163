"""Check shapes at run time in every test, and start each from the same random state.

The hook comes before the first import.
"""

import os
import random
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from tests import typechecker

# The test processes share the cores: one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test asks the hub for a folder that is not here.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Bytecode is kept, even where the environment says not to: each worker imports all tests, and some
# hundred processes the package, which are not compiled anew for each.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

typechecker.install("plainformer")


def seed_all() -> None:
    """Seed every generator that code draws from unless it is given one."""
    import torch  # not at the top: it reads OMP_NUM_THREADS once, when it is loaded

    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (it is this old generator that has to be seeded)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Let a test draw the same numbers alone and after others."""
    seed_all()


@pytest.fixture(autouse=True, scope="session")
def without_pictures() -> Iterator[None]:
    """Let a run draw nothing but where a test says `with pictures()`."""
    from tests.pictures import no_pictures  # not at the top: it imports torch

    with no_pictures():
        yield


def pytest_fixture_setup(fixturedef: pytest.FixtureDef) -> None:
    """Let a fixture of several tests, which is made before `seeded`, draw the same numbers too."""
    if fixturedef.scope != "function":
        seed_all()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the chapters: one takes up to a minute, in which others would have ended."""
    items.sort(key=lambda item: item.path.name != "test_chapters.py")
