"""Text and labelled examples: readers of users' files, and real sets fetched by name."""

from corpora.catalogue import Dataset, catalogue
from corpora.conll import Tagged, read_conll
from corpora.fetch import cache_folder, fetch
from corpora.readers import Row, read_rows, read_texts

__all__ = [
    "Dataset",
    "Row",
    "Tagged",
    "cache_folder",
    "catalogue",
    "fetch",
    "read_conll",
    "read_rows",
    "read_texts",
]
