"""Read questions on passages as in SQuAD, each with answers in its passage or without an answer.

| suffix          | question                                                       |
|-----------------|----------------------------------------------------------------|
| .json           | data[i].paragraphs[j].qas[k], on data[i].paragraphs[j].context |
| .jsonl .parquet | a row with `question`, `context`, `answers` and optionally `id`|
| .csv .tsv       | a row with `question` and `context`, to be answered            |

`answers` is a list of {"text", "answer_start"} (SQuAD), or {"text": […], "answer_start": […]} of
two lists (Hugging Face). An empty list is a question without an answer (SQuAD 2.0). `answer_start`
counts characters. (Rajpurkar et al. 2016, arXiv:1606.05250; 2018, arXiv:1806.03822)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plainformer.base import UserError, parse_json, plural
from plainformer.corpora.files import File, check_file, suffix_of
from plainformer.corpora.lines import read_lines
from plainformer.corpora.readers import read_rows
from plainformer.corpora.rows import Row


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: `text` is `context[start:end]`."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """Return the position after the last character."""
        return self.start + len(self.text)


def read_squad(file: str | Path) -> Iterator[Row]:
    """Yield the questions of a file: `question`, `context` and all further fields.

    A .json file is read as a whole; there the line of a row is the number of the question.

    Raises:
        UserError: an element of the file has another structure; or as `read_rows`.
    """
    file = check_file(file)
    return _questions(file) if suffix_of(file) == ".json" else read_rows(file)


def read_answers(row: Row) -> list[Answer]:
    """Return the answers of a row, none for a question without an answer.

    Raises:
        UserError: the answers are invalid, or one is not in the passage at its `answer_start`.
    """
    context = row.string("context")
    (given,) = row.require("answers")
    name = row.fields.get("id")
    source = row.source + (f": question {name!r}" if name is not None else "")
    answers = [_answer(text, start, context, source) for text, start in _pairs(given, source)]
    impossible = row.fields.get("is_impossible")
    if isinstance(impossible, bool) and impossible == bool(answers):
        count = f"has {plural(len(answers), 'answer')}" if answers else "has no answer"
        raise UserError(f"{source}: is_impossible is {str(impossible).lower()}, yet it {count}")
    return answers


def _questions(file: File) -> Iterator[Row]:
    whole = parse_json("".join(line for _, line in read_lines(file)), file)
    number = 0
    for i, article in enumerate(_list(whole, "data", f"{file}: the whole")):
        source = f"{file}: data[{i}]"
        for j, paragraph in enumerate(_list(article, "paragraphs", source)):
            source = f"{file}: data[{i}].paragraphs[{j}]"
            context = _text(paragraph, "context", source)
            for k, question in enumerate(_list(paragraph, "qas", source)):
                _text(question, "question", f"{source}.qas[{k}]")
                number += 1
                yield Row({**question, "context": context}, file, number)
    if not number:
        raise UserError(f"{file} has no questions")


def _list(element: Any, name: str, source: str) -> list[Any]:
    """Return the list `element[name]`."""
    value = _value(element, name, source)
    if not isinstance(value, list):
        raise UserError(f"{source}: {name!r} is not a list: {value!r:.40}")
    return value


def _text(element: Any, name: str, source: str) -> str:
    """Return the text `element[name]`."""
    value = _value(element, name, source)
    if not isinstance(value, str):
        raise UserError(f"{source}: {name!r} is not a text: {value!r:.40}")
    return value


def _value(element: Any, name: str, source: str) -> Any:
    if not isinstance(element, dict):
        raise UserError(f"{source} is not an object: {element!r:.40}")
    if name not in element:
        raise UserError(f"{source} has no {name!r}; it has: {', '.join(element) or 'nothing'}")
    return element[name]


def _pairs(given: Any, source: str) -> Iterator[tuple[Any, Any]]:
    """Yield text and start of each answer, in either form."""
    if isinstance(given, dict):
        texts, starts = given.get("text"), given.get("answer_start")
        if isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts):
            return zip(texts, starts, strict=True)
    elif isinstance(given, list) and all(isinstance(answer, dict) for answer in given):
        return ((answer.get("text"), answer.get("answer_start")) for answer in given)
    raise UserError(
        f'{source}: the answers are neither a list of {{"text", "answer_start"}} nor two lists of '
        f"the same length under these names: {given!r:.60}"
    )


def _answer(text: Any, start: Any, context: str, source: str) -> Answer:
    if not isinstance(text, str) or type(start) is not int:
        raise UserError(
            f'{source}: an answer needs a string "text" and a whole number "answer_start", not '
            f"{text!r:.40} and {start!r:.40}"
        )
    if not text.strip():
        raise UserError(f"{source}: an answer is empty: write [] for a question without an answer")
    answer = Answer(text, start)
    found = context[start : answer.end] if start >= 0 else ""
    if found != text:
        first = context.find(text)
        hint = f"it is at {first}" if first >= 0 else "it is not in the passage"
        raise UserError(
            f"{source}: the passage has {found!r:.60} at {start}, not the answer {text!r:.60}; "
            f"{hint}"
        )
    return answer
