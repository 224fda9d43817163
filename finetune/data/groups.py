"""Read the group of a row from a column of the user's file: a gender, a source, a dialect."""

from plainformer.base import UserError, did_you_mean
from plainformer.corpora import Row, WordsRow
from plainformer.corpora.rows import Doubtful, is_missing


def group_of(row: Row, column: str) -> str | None:
    """Return the group of a row; None where it has no value, or one such as NA that may be none.

    A sentence whose words are rows has the value that all its words have. Raises `UserError` for a
    value that is no text or number.
    """
    value = row.fields.get(column)
    if isinstance(row, WordsRow) and isinstance(value, list):
        if len({*value}) > 1:
            raise UserError(f"{row.source}: the words of a sentence differ in column {column!r}")
        value = value[0]
    if isinstance(value, list | dict):
        raise UserError(f"{row.source}: column {column!r} is not one value: {value!r:.40}")
    if is_missing(value) or isinstance(value, Doubtful) or not str(value).strip():
        return None
    return str(value).strip()


def no_column(row: Row, column: str) -> str:
    """Return the message for a column of groups that does not exist, naming those there are."""
    there = tuple(row.columns or row.fields)
    if isinstance(row, WordsRow) and {*there} <= {"words", "tags"}:
        return (
            "a file of this kind has no column for groups: write the sentences as .jsonl, with the "
            f"lists words and tags, and {column}"
        )
    near = did_you_mean(column, there)
    return f"no column {column!r}; columns: {', '.join(there)}{near}"
