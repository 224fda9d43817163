"""Files of word vectors, written here as the documentation of word2vec and GloVe describes them."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder import Encoder, load_word_vectors
from plainformer.tokenizer import SPECIAL_TOKENS, WordPiece
from tests.encoder.tools import bert

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs"]), min_size=1)
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)
ROWS = st.dictionaries(WORDS, st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=5)


def glove(vectors: dict[str, tuple[float, ...]]) -> str:
    return "".join(f"{w} {' '.join(map(repr, v))}\n" for w, v in vectors.items())


def word2vec(vectors: dict[str, tuple[float, ...]]) -> str:
    size = len(next(iter(vectors.values())))
    return f"{len(vectors)} {size}\n{glove(vectors)}"


def written(folder: Path, text: str) -> Path:
    path = folder / "vectors.txt"
    path.write_bytes(text.encode())
    return path


def table_of(rows: int, size: int) -> nn.Embedding:
    return nn.Embedding.from_pretrained(torch.full((rows, size), 9.0))


@pytest.mark.parametrize("write", [glove, word2vec])
@given(vectors=ROWS, data=st.data())
def test_the_vectors_of_known_words_are_copied_exactly(write, tmp_path_factory, vectors, data):
    known = data.draw(st.permutations([*vectors, None, None]))
    ids = {word: row for row, word in enumerate(known) if word is not None and row > 0}
    table = table_of(len(known), 3)
    path = written(tmp_path_factory.mktemp("vectors"), write(vectors))
    assert load_word_vectors(table, path, ids.get) == ids
    for row, word in enumerate(known):
        expected = vectors[word] if word in ids else (9.0, 9.0, 9.0)
        assert table.weight[row].tolist() == list(expected)


@pytest.mark.parametrize("end", [" \n", "\r\n", "\n"])
def test_spaces_and_line_breaks_at_the_end_are_no_columns(tmp_path, end) -> None:
    table = table_of(1, 2)
    path = written(tmp_path, f"2 2{end}a 1 2{end}b 3 4{end}")
    assert load_word_vectors(table, path, {"b": 0}.get) == {"b": 0}
    assert table.weight.tolist() == [[3, 4]]


def test_a_word_may_contain_spaces(tmp_path) -> None:
    table = table_of(2, 2)
    path = written(tmp_path, "at 1 2\nat name@domain.com 3 4\n. . . 5 6\n")
    assert load_word_vectors(table, path, {"at": 0, ". . .": 1}.get) == {"at": 0, ". . .": 1}
    assert table.weight.tolist() == [[1, 2], [5, 6]]


def test_of_words_with_one_token_the_first_is_taken(tmp_path) -> None:
    tokenizer = WordPiece([*SPECIAL_TOKENS.values(), "rain", "##s", "café"], strip_accents=False)
    path = written(
        tmp_path, "Rain 1 2\nrain 3 4\nrain 5 6\nrains 7 8\nCAFÉ 1 1\n[MASK] 2 2\nx 3 3\n"
    )
    table = table_of(8, 2)
    assert load_word_vectors(table, path, tokenizer.whole_word_id) == {"Rain": 5, "CAFÉ": 7}
    assert table.weight[5:].tolist() == [[1, 2], [9, 9], [1, 1]]


def test_an_encoder_reads_the_loaded_vectors(tmp_path) -> None:
    encoder = Encoder(bert(vocab_size=12, embedding_size=4)).eval()
    path = written(tmp_path, "rain 1 2 3 4\nsnow 1 2 3 4\n")
    ids = torch.tensor([[7, 8], [8, 7]])

    def encoded() -> Tensor:
        first, second = encoder(ids).last_hidden_state
        return (first - second).abs().max()

    assert encoded() > 0.01
    load_word_vectors(encoder.embeddings.tokens, path, {"rain": 7, "snow": 8}.get)
    assert encoded() < 1e-6
    assert encoder.embeddings.tokens.weight.requires_grad


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "vectors.txt has no word vectors"),
        ("0 2\n", "vectors.txt has no word vectors"),
        ("a 1 2 3\n", "its vectors have 3 numbers, but the table has 2 columns"),
        ("5 3\na 1 2 3\n", "build the encoder with embedding_size=3"),
        ("a 1 2\nb 1\n", "vectors.txt:2: the word is followed by 1 number, not by 2"),
        ("a 1 2\n\n", "vectors.txt:2: the word is followed by 0 numbers, not by 2"),
        ("a 1 2\nb 1 2 3\n", "vectors.txt:2: the word is followed by 3 numbers, not by 2"),
        ("a 1 2\nb 1 zwei\n", "vectors.txt:2: 'zwei' is not a number"),
        ("a 1 2\nb 1 nan\n", "vectors.txt:2: the vector of 'b' has a number that is not finite"),
        ("a 1 1e39\n", "vectors.txt:1: the vector of 'a' has a number that is not finite"),
        ("3 2\na 1 2\nb 1 2\n", "has 2 word vectors, but its first line says 3: fetch it again"),
        ("a 1 2\nc 1 2\n", "'c' has id 7, but the table has only 2 rows"),
        ("a 1 2\n" + "b" * (1 << 20) + "\n", "vectors.txt:2: not a line of UTF-8 text"),
    ],
)
def test_a_fault_is_named_and_the_table_unchanged(tmp_path, text, fault) -> None:
    table = table_of(2, 2)
    with pytest.raises(UserError) as error:
        load_word_vectors(table, written(tmp_path, text), {"a": 0, "c": 7}.get)
    assert fault in str(error.value)
    assert table.weight.eq(9).all()


def test_a_binary_or_missing_file_is_refused(tmp_path) -> None:
    path = tmp_path / "vectors.bin"
    path.write_bytes(b"1 2\nrain " + bytes([0xCD, 0xCC, 0x8C, 0x3F] * 2))
    with pytest.raises(UserError, match=r"vectors\.bin:2: not a line of UTF-8 text; a binary file"):
        load_word_vectors(table_of(2, 2), path, {"rain": 0}.get)
    with pytest.raises(UserError, match=r"^there is no file .*none\.txt$"):
        load_word_vectors(table_of(2, 2), tmp_path / "none.txt", {"rain": 0}.get)
