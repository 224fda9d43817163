from collections.abc import Iterator

import pytest
import torch

from encoder.config import PRESETS
from tests.pretrain import tiny
from tokenizer import Tokenizer


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Sums depend on how many threads share them: the same here and in child processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="package")
def speck() -> Iterator[None]:
    """A preset that trains in seconds."""
    PRESETS[tiny.PRESET] = tiny.SHAPE
    yield
    del PRESETS[tiny.PRESET]


@pytest.fixture(scope="package")
def tokenizers() -> dict[str, Tokenizer]:
    return {kind: tiny.make_tokenizer(kind) for kind in ("wordpiece", "unigram", "bpe")}


@pytest.fixture(params=["wordpiece", "unigram", "bpe"])
def tokenizer(request, tokenizers) -> Tokenizer:
    return tokenizers[request.param]


@pytest.fixture
def wordpiece(tokenizers) -> Tokenizer:
    return tokenizers["wordpiece"]
