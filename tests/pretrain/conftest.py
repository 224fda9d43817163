from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from plainformer.tokenizer import Tokenizer
from tests.pretrain import tiny

settings.register_profile("shared cores", deadline=None)
settings.load_profile("shared cores")


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Sums depend on how many threads share them: the same here and in child processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def tokenizers() -> dict[str, Tokenizer]:
    return {kind: tiny.make_tokenizer(kind) for kind in ("wordpiece", "unigram", "bpe")}


@pytest.fixture(params=["wordpiece", "unigram", "bpe"])
def tokenizer(request, tokenizers) -> Tokenizer:
    return tokenizers[request.param]


@pytest.fixture
def wordpiece(tokenizers) -> Tokenizer:
    return tokenizers["wordpiece"]
