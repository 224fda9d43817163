"""What every package stands on: a user's error, files written whole, JSON checked as it is read."""

from cellar.bounds import above, at_least, between, check_bounds
from cellar.errors import UserError, closest, did_you_mean
from cellar.files import (
    atomic_folder,
    atomic_path,
    checksum,
    finite,
    remove_leftovers,
    write_json,
    write_text,
)
from cellar.from_json import from_json
from cellar.hub import find_folder
from cellar.json_reader import Fields, NotJSON, as_json, parse_json, read_json, read_json_list

__all__ = [
    "Fields",
    "NotJSON",
    "UserError",
    "above",
    "as_json",
    "at_least",
    "atomic_folder",
    "atomic_path",
    "between",
    "check_bounds",
    "checksum",
    "closest",
    "did_you_mean",
    "find_folder",
    "finite",
    "from_json",
    "parse_json",
    "read_json",
    "read_json_list",
    "remove_leftovers",
    "write_json",
    "write_text",
]
