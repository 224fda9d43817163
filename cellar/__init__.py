"""Provide the base of every package: user errors, atomic files, and checked JSON."""

from cellar.bounds import above, at_least, between, check_bounds
from cellar.counts import plural
from cellar.errors import UserError, closest, did_you_mean
from cellar.files import (
    atomic_folder,
    atomic_path,
    checksum,
    finite,
    is_stream,
    refuse_same_file,
    remove_folder,
    write_json,
    write_text,
)
from cellar.from_json import from_json
from cellar.hub import find_folder
from cellar.json_reader import Fields, NotJSON, as_json, parse_json, read_json, read_json_list
from cellar.names import is_inside
from cellar.output_folder import output_folder, replaced_folder
from cellar.scratch import clear_leftovers

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
    "clear_leftovers",
    "closest",
    "did_you_mean",
    "find_folder",
    "finite",
    "from_json",
    "is_inside",
    "is_stream",
    "output_folder",
    "parse_json",
    "plural",
    "read_json",
    "read_json_list",
    "refuse_same_file",
    "remove_folder",
    "replaced_folder",
    "write_json",
    "write_text",
]
