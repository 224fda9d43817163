"""What every room of the house stands on: a user's error, files written whole, folders by name."""

from cellar.errors import UserError
from cellar.files import (
    atomic_folder,
    atomic_path,
    checksum,
    finite,
    remove_leftovers,
    write_json,
    write_text,
)
from cellar.hub import find_folder

__all__ = [
    "UserError",
    "atomic_folder",
    "atomic_path",
    "checksum",
    "find_folder",
    "finite",
    "remove_leftovers",
    "write_json",
    "write_text",
]
