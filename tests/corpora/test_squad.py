"""Questions on passages: both forms of SQuAD's answers, and what can be wrong with a file."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plainformer.base import UserError
from plainformer.corpora import Answer, read_answers, read_squad

CONTEXT = "The café sells tea. The 茶 is green."


def squad(*questions, context=CONTEXT):
    paragraphs = [{"context": context, "qas": list(questions)}]
    return {"version": "v2.0", "data": [{"title": "Tea", "paragraphs": paragraphs}]}


def write(path, value):
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def asked(*answers, **more):
    given = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": "q7", "question": "What?", "answers": given, **more}


def test_questions_of_all_paragraphs_come_in_order(tmp_path):
    whole = squad(asked(("tea", 15)), asked(is_impossible=True))
    whole["data"] += squad(asked(("1", 0), ("1", 0)), context="1")["data"]
    rows = list(read_squad(write(tmp_path / "a.json", whole)))
    assert [row.line for row in rows] == [1, 2, 3]
    assert [row.fields["context"] for row in rows] == [CONTEXT, CONTEXT, "1"]
    assert [read_answers(row) for row in rows] == [
        [Answer("tea", 15)],
        [],
        [Answer("1", 0), Answer("1", 0)],
    ]
    assert read_answers(rows[0])[0].end == 18


@pytest.mark.parametrize(
    "answers",
    [
        [{"text": "茶", "answer_start": 24}, {"text": "tea", "answer_start": 15}],
        {"text": ["茶", "tea"], "answer_start": [24, 15]},
    ],
)
def test_rows_have_answers_in_either_form(tmp_path, answers):
    path = write(tmp_path / "a.jsonl", {"question": "?", "context": CONTEXT, "answers": answers})
    (row,) = read_squad(path)
    assert read_answers(row) == [Answer("茶", 24), Answer("tea", 15)]


@pytest.mark.parametrize("answers", [[], {"text": [], "answer_start": []}])
def test_a_question_may_have_no_answer(tmp_path, answers):
    path = write(tmp_path / "a.jsonl", {"question": "?", "context": CONTEXT, "answers": answers})
    (row,) = read_squad(path)
    assert read_answers(row) == []


def test_parquet_rows_are_read_as_they_are_published(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    answers = [{"text": ["tea"], "answer_start": [15]}, {"text": [], "answer_start": []}]
    columns = {"id": ["a", "b"], "question": ["?", "?"], "context": [CONTEXT] * 2}
    parquet.write_table(pyarrow.table(columns | {"answers": answers}), tmp_path / "a.parquet")
    rows = list(read_squad(tmp_path / "a.parquet"))
    assert [read_answers(row) for row in rows] == [[Answer("tea", 15)], []]


def test_a_file_may_be_packed(tmp_path):
    with gzip.open(tmp_path / "a.json.gz", "wt") as file:
        json.dump(squad(asked(("tea", 15))), file)
    (row,) = read_squad(tmp_path / "a.json.gz")
    assert read_answers(row) == [Answer("tea", 15)]


@given(st.text(min_size=1).filter(lambda text: text.strip()), st.data())
def test_any_piece_of_a_passage_may_be_an_answer(tmp_path_factory, context, data):
    start = data.draw(st.integers(0, len(context) - 1))
    text = context[start : data.draw(st.integers(start + 1, len(context)))]
    path = tmp_path_factory.mktemp("squad") / "a.json"
    (row,) = read_squad(write(path, squad(asked((text, start)), context=context)))
    if text.strip():
        assert read_answers(row) == [Answer(text, start)]
    else:
        with pytest.raises(UserError, match="an answer is empty"):
            read_answers(row)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "a.json: not JSON .column 2"),
        ("[" * 100_000, "a.json: JSON nested deeper"),
        ("[]", r"a.json: the whole is not an object: \[\]"),
        ('{"rows": 1}', "the whole has no 'data'; it has: rows"),
        ('{"data": {}}', "the whole: 'data' is not a list"),
        ('{"data": [3]}', r"data\[0\] is not an object: 3"),
        ('{"data": [{"paragraphs": null}]}', r"data\[0\]: 'paragraphs' is not a list: None"),
        ('{"data": [{"paragraphs": [{"qas": []}]}]}', r"paragraphs\[0\] has no 'context'"),
        (
            '{"data": [{"paragraphs": [{"context": "x", "qas": [{"id": "q"}]}]}]}',
            r"a.json: data\[0\].paragraphs\[0\].qas\[0\] has no 'question'; it has: id",
        ),
        (
            '{"data": [{"paragraphs": [{"context": "\\ud800", "qas": []}]}]}',
            "a.json: half of a surrogate pair",
        ),
        ('{"data": [{"paragraphs": []}]}', "a.json has no questions"),
        ("", "a.json is empty"),
        ("\0", "not UTF-8 text"),
    ],
)
def test_a_file_of_another_shape_is_refused_by_the_element(tmp_path, content, message):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=message):
        list(read_squad(tmp_path / "a.json"))


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            [{"text": "tea", "answer_start": 14}],
            r"a.jsonl:2: question 'q7': the passage has ' te' at 14, not the answer 'tea'; "
            "it is at 15",
        ),
        ([{"text": "wine", "answer_start": 0}], "has 'The ' at 0, .* not in the passage"),
        ([{"text": "green", "answer_start": -6}], "has '' at -6, not the answer 'green'"),
        ([{"text": "tea", "answer_start": 900}], "has '' at 900"),
        ([{"text": " ", "answer_start": 3}], "an answer is empty"),
        ([{"text": "tea"}], "a whole number \"answer_start\", not 'tea' and None"),
        ([{"text": "T", "answer_start": False}], "'T' and False"),
        ([{"text": None, "answer_start": 1}], "None and 1"),
        (["tea"], r"question 'q7': the answers are neither .*: \['tea'\]"),
        ("tea", "the answers are neither"),
        ({"text": ["a", "b"], "answer_start": [1]}, "of the same length"),
        ({"text": "tea", "answer_start": 15}, "nor two lists"),
        (None, "a.jsonl:2: no value in column 'answers'"),
    ],
)
def test_a_wrong_answer_is_named_by_line_and_question(tmp_path, answers, message):
    row = {"id": "q7", "question": "What?", "context": CONTEXT, "answers": answers}
    (tmp_path / "a.jsonl").write_text("\n" + json.dumps(row))
    (read,) = read_squad(tmp_path / "a.jsonl")
    with pytest.raises(UserError, match=message):
        read_answers(read)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (asked(("tea", 15), is_impossible=True), "is_impossible is true, yet it has 1 answer"),
        (asked(is_impossible=False), "is_impossible is false, yet it has no answer"),
    ],
)
def test_a_question_that_contradicts_itself_is_refused(tmp_path, question, message):
    (row,) = read_squad(write(tmp_path / "a.json", squad(question)))
    with pytest.raises(UserError, match=rf"a.json:1: question 'q7': {message}"):
        read_answers(row)
