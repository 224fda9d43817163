import pytest
from hypothesis import given
from hypothesis import strategies as st

from plainformer.base import UserError
from plainformer.corpora import read_conll
from plainformer.corpora.sets import bmes_to_iob2


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


UD = """# sent_id = 1
# text = Don't panic now.
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tDo\tdo\tAUX\tVBP\t_\t3\taux\t_\t_
2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_
2.1\tgone\tgo\tVERB\t_\t_\t_\t_\t_\t_
3\tpanic now\tpanic\tVERB\tVB\t_\t0\troot\t_\t_

# sent_id = 2
1\t#\t#\tSYM\tNN\t_\t0\troot\t_\t_
"""


@pytest.mark.parametrize(
    ("content", "columns", "sentences"),
    [
        (UD, {}, [("Do n't panic_now", "AUX PART VERB", (4, 5, 7)), ("#", "SYM", (10,))]),
        (UD, {"tags": "5"}, [("Do n't panic_now", "VBP RB VB", (4, 5, 7)), ("#", "NN", (10,))]),
        # GermEval's numbers; a comment with as many columns as a word
        ("# a b\n1 EU B-ORG\n2 . O\n", {}, [("EU .", "B-ORG O", (2, 3))]),
        ("1 EU\tB-ORG O\n2 . O O\n", {"words": "2", "tags": "3"}, [("EU .", "B-ORG O", (1, 2))]),
        (
            "1 EU B-ORG\n\n1 The O\n2 dog O\n",
            {},
            [("EU", "B-ORG", (1,)), ("The dog", "O O", (3, 4))],
        ),
        # numbers that are words
        ("1 CD O\n. . O\n", {}, [("1 .", "O O", (1, 2))]),
        ("1 O\n2 O\n3 O\n", {"words": "1"}, [("1 2 3", "O O O", (1, 2, 3))]),
        ("#Brexit O\nin O\n2016 O\n", {}, [("#Brexit in 2016", "O O O", (1, 2, 3))]),
        ("# O\n1 O\n", {}, [("# 1", "O O", (1, 2))]),
        # MultiCoNER's comments
        ("# id 7f domain=en x\nEU _ _ B-ORG\n. _ _ O\n", {}, [("EU .", "B-ORG O", (2, 3))]),
        ("0 EU B-ORG\n1 . O\n", {}, [("EU .", "B-ORG O", (1, 2))]),
        ("# id 7f\tdomain=en\nEU _ _ B-ORG\n. _ _ O\n", {}, [("EU .", "B-ORG O", (2, 3))]),
        ("# s1\nthe\tDET\ncat\tNOUN\n", {}, [("the cat", "DET NOUN", (2, 3))]),
        # comments that only their number tells from words
        (
            "# s1\nthe DET\ncat NOUN\n\n# s2\n# SYM\n1 NUM\n\n# O\n",
            {},
            [("the cat", "DET NOUN", (2, 3)), ("# 1", "SYM NUM", (6, 7)), ("#", "O", (9,))],
        ),
        ("# O\n1 O\n\n# O\n2 O\n", {}, [("# 1", "O O", (1, 2)), ("# 2", "O O", (4, 5))]),
        # headers
        ("word tag\nEU B-ORG\n", {}, [("EU", "B-ORG", (2,))]),
        ("tag\tpos\tword\nB-ORG\tNNP\tEU\n", {}, [("EU", "B-ORG", (2,))]),
        ("Token NER\n\nEU B-ORG\n", {"words": "Token", "tags": "NER"}, [("EU", "B-ORG", (3,))]),
    ],
)
def test_columns_as_others_write_them(tmp_path, content, columns, sentences):
    path = tmp_path / "a.txt"
    path.write_text(content)
    found = [(s.words, s.tags, s.lines) for s in read_conll(path, columns)]
    assert found == [
        ([word.replace("_", " ") for word in words.split()], tags.split(), lines)
        for words, tags, lines in sentences
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 EU _ B-ORG\n2 . _ O\n", "a.txt:1: the first of 4 columns numbers the words: name"),
        ("1 EU\n2 .\n", "a.txt:1: the first of 2 columns numbers the words"),
        ("#begin document (a); part 000\nbc/a 0 0 In IN\n", "a.txt:1: CoNLL-2012 is not supported"),
        ("0 EU _ B-ORG\n1 . _ O\n", "a.txt:1: the first of 4 columns numbers the words: name"),
        ("Token Label\nEU B-ORG\n", "a.txt:1: no column 'word'; columns: Token, Label; say which"),
        ("Words Tags\nEU B-ORG\n", "a.txt:1: no column 'word'; .* did you mean Words"),
        ("the\n\na O x y B\nb O x y O\n", "a.txt:1: 1 columns, where a later sentence has 5"),
    ],
)
def test_columns_that_are_refused(tmp_path, content, message):
    path = tmp_path / "a.txt"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        list(read_conll(path))


@pytest.mark.parametrize("column", ["0", "3", "word"])
def test_a_column_that_is_not_there(tmp_path, column):
    path = tmp_path / "a.txt"
    path.write_text("EU B-ORG\n")
    with pytest.raises(UserError, match=r"a.txt:1: there is no header .*: give its number, from 1"):
        list(read_conll(path, {"words": column}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("EU B-ORG\nrejects\n", ":2: no tag after the word 'rejects'"),
        ("EU NNP B-ORG\nrejects O\n", ":2: 2 columns, where the lines before have 3"),
        ("\n\n", "has no words"),
        ("-DOCSTART- O\n\n" + "a O\n" * 1001, "sentences are not separated: leave a blank line"),
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
