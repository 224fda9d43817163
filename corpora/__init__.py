"""Text and labelled examples: readers of users' files, and real sets fetched by name."""

from corpora.catalogue import Dataset, catalogue
from corpora.conll import Tagged, read_conll
from corpora.fetch import cache_folder, fetch
from corpora.files import File, NoText, find_files, kind, pass_over, stamp
from corpora.lines import read_lines
from corpora.readers import has_rows, read_documents, read_rows, read_texts
from corpora.rows import MISSING, Columns, Doubtful, Row, read_columns
from corpora.sentence_table import WordsRow, has_header, sentence_table
from corpora.split import is_held_out, key
from corpora.squad import Answer, read_answers, read_squad

__all__ = [
    "MISSING",
    "Answer",
    "Columns",
    "Dataset",
    "Doubtful",
    "File",
    "NoText",
    "Row",
    "Tagged",
    "WordsRow",
    "cache_folder",
    "catalogue",
    "fetch",
    "find_files",
    "has_header",
    "has_rows",
    "is_held_out",
    "key",
    "kind",
    "pass_over",
    "read_answers",
    "read_columns",
    "read_conll",
    "read_documents",
    "read_lines",
    "read_rows",
    "read_squad",
    "read_texts",
    "sentence_table",
    "stamp",
]
