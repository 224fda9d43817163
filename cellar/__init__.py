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
from cellar.json_reader import Fields, parse_json, read_json

__all__ = [
    "Fields",
    "UserError",
    "atomic_folder",
    "atomic_path",
    "checksum",
    "find_folder",
    "finite",
    "parse_json",
    "read_json",
    "remove_leftovers",
    "write_json",
    "write_text",
]
