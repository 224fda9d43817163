from collections.abc import Iterator

import pytest

from cellar import UserError
from tokenizer import SPECIAL_TOKENS, train_tokenizer

KINDS = ["wordpiece", "unigram", "bpe"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lowercase", [True, False])
def test_vocabulary_is_as_large_as_asked(texts, kind, lowercase) -> None:
    tokenizer = train_tokenizer(texts, kind=kind, vocab_size=400, lowercase=lowercase)
    assert tokenizer.vocab_size == 400
    assert [tokenizer.token(id) for id in range(5)] == list(SPECIAL_TOKENS.values())
    assert len({tokenizer.token(id) for id in range(400)}) == 400
    assert (tokenizer.words("The") == tokenizer.words("the")) == lowercase
    assert tokenizer.unk_id not in tokenizer.encode("the encoder 我们").ids


@pytest.mark.parametrize("kind", KINDS)
def test_too_large_names_the_largest_that_works(kind) -> None:
    texts = ["hello world, this is a small test of a small text"] * 3
    with pytest.raises(UserError, match="largest possible is") as error:
        train_tokenizer(texts, kind=kind, vocab_size=5000)
    largest = int(str(error.value).split("possible is ")[1].split(";")[0])
    assert train_tokenizer(texts, kind=kind, vocab_size=largest).vocab_size == largest


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_a_user_error(kind) -> None:
    with pytest.raises(UserError, match="too small"):
        train_tokenizer(["hello world"], kind=kind, vocab_size=8)
    for texts in ([], ["", " \n"]):
        with pytest.raises(UserError, match="empty"):
            train_tokenizer(texts, kind=kind, vocab_size=300)
    with pytest.raises(UserError, match="lone surrogate at character 1"):
        train_tokenizer(["a\ud800"], kind=kind, vocab_size=300)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_keeps_its_own_error(kind) -> None:
    def texts() -> Iterator[str]:
        yield "hello"
        raise UserError("file.txt, line 2: not text")

    with pytest.raises(UserError, match=r"^file.txt, line 2: not text$"):
        train_tokenizer(texts(), kind=kind, vocab_size=300)
