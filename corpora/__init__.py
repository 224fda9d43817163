"""Read text and labelled examples from files, or from data sets that are fetched by name."""

from plainformer.corpora.catalogue import Dataset, catalogue
from plainformer.corpora.conll import Tagged, read_conll
from plainformer.corpora.fetch import cache_folder, fetch, is_set
from plainformer.corpora.files import File, NoText, find_files, stamp, suffix_of, warn_skipped
from plainformer.corpora.lines import read_lines
from plainformer.corpora.readers import has_rows, read_documents, read_rows, read_texts
from plainformer.corpora.rows import MISSING, Columns, Doubtful, Row, read_columns
from plainformer.corpora.sentence_table import WordsRow, has_header, sentence_table
from plainformer.corpora.split import is_held_out, text_key
from plainformer.corpora.squad import Answer, read_answers, read_squad

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
    "is_set",
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
    "suffix_of",
    "text_key",
    "warn_skipped",
]
