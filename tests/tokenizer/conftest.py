import random

import pytest

from plainformer.tokenizer import SentencePiece, WordPiece, train_tokenizer

TEXT = """
the a transformer encoder reads text from left to right and back again while tokens travel packed
through every layer of attention they meet at heads where labels wait 42 times café naïve Straße
Ελλάδα θάλασσας мир שלום walking walked walker unbelievable don't it's end. (or) "not"?
"""
SYLLABLES = [first + vowel for first in "bdklmnprst" for vowel in "aeiou"]
CHINESE = "我们在中国学习语言模型。天气很好,今天是星期一!"


def sentences(count: int = 400) -> list[str]:
    chance = random.Random(0)
    words = TEXT.split()
    words += ["".join(chance.choices(SYLLABLES, k=3)) for _ in range(200)]
    english = [" ".join(chance.choices(words, k=12)) for _ in range(count)]
    return [*english, *("".join(chance.sample(CHINESE, 12)) for _ in range(count // 4))]


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return sentences()


@pytest.fixture(scope="session")
def wordpiece(texts: list[str]) -> WordPiece:
    tokenizer = train_tokenizer(texts, vocab_size=300)
    assert isinstance(tokenizer, WordPiece)
    return tokenizer


@pytest.fixture(scope="session", params=["unigram", "bpe"])
def sentencepiece(request: pytest.FixtureRequest, texts: list[str]) -> SentencePiece:
    tokenizer = train_tokenizer(texts, kind=request.param, vocab_size=420, lowercase=False)
    assert isinstance(tokenizer, SentencePiece)
    return tokenizer
