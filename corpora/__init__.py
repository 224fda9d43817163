"""Text and labelled examples: readers of users' files, and real sets fetched by name."""

from corpora.catalogue import Dataset, catalogue
from corpora.fetch import cache_folder, fetch

__all__ = ["Dataset", "cache_folder", "catalogue", "fetch"]
