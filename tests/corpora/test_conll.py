import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellar import UserError
from corpora import read_conll
from corpora.sets import bmes_to_iob2


def test_sentences_are_parted_by_blank_lines_and_know_their_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(
        "-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n \n-DOCSTART- -X- O O\n"
        "Peter NNP B-NP B-PER"
    )
    first, second = read_conll(path)
    assert (first.words, first.tags, first.line) == (["EU", "rejects"], ["B-ORG", "O"], 3)
    assert (second.words, second.tags, second.line) == (["Peter"], ["B-PER"], 8)


def test_an_ideographic_space_is_a_word(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("北\tB-LOC\r\n\u3000\tO\r\n", encoding="utf-8")
    (sentence,) = read_conll(path)
    assert sentence.words == ["北", "\u3000"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("EU B-ORG\nrejects\n", ":2: no tag after the word 'rejects'"),
        ("EU NNP B-ORG\nrejects O\n", ":2: 2 columns, where the lines before have 3"),
        ("\n\n", "holds no words"),
    ],
)
def test_a_fault_is_named_by_file_and_line(tmp_path, content, message):
    path = tmp_path / "a.txt"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        list(read_conll(path))


@pytest.mark.parametrize(
    ("bmes", "iob2"),
    [
        ("B-LOC M-LOC E-LOC O", "B-LOC I-LOC I-LOC O"),
        ("S-PER S-PER B-PER E-PER", "B-PER B-PER B-PER I-PER"),
        ("E-ORG O M-ORG E-ORG", "B-ORG O B-ORG I-ORG"),  # beginnings cut off
        ("B-LOC E-ORG", "B-LOC B-ORG"),
        ("B-LOC E-LOC E-LOC", "B-LOC I-LOC B-LOC"),
    ],
)
def test_bmes_becomes_iob2(bmes, iob2):
    assert bmes_to_iob2(bmes.split()) == iob2.split()


ENTITY = st.tuples(st.sampled_from(["PER", "LOC", "O"]), st.integers(1, 5))


@given(st.lists(ENTITY))
def test_entities_survive_the_rewriting(entities):
    bmes, expected = [], []
    for kind, length in entities:
        if kind == "O":
            bmes += ["O"] * length
            expected += ["O"] * length
        else:
            middle = [f"M-{kind}"] * (length - 2)
            bmes += [f"B-{kind}", *middle, f"E-{kind}"] if length > 1 else [f"S-{kind}"]
            expected += [f"B-{kind}", *[f"I-{kind}"] * (length - 1)]
    assert bmes_to_iob2(bmes) == expected
