"""The base of every package: user errors, atomic file writes, and checked JSON."""

from plainformer.base.bounds import above, at_least, between, check_bounds, refuse_unused
from plainformer.base.counts import plural
from plainformer.base.errors import UserError, closest, did_you_mean
from plainformer.base.files import (
    atomic_folder,
    atomic_path,
    checksum,
    expanded,
    is_stream,
    nan_to_null,
    refuse_no_folder,
    refuse_same_file,
    remove_folder,
    write_json,
    write_text,
)
from plainformer.base.from_json import OneOf, from_json
from plainformer.base.hub import find_folder
from plainformer.base.inference import AUTO, Inference
from plainformer.base.json_reader import (
    Fields,
    NotJSON,
    as_json,
    parse_json,
    read_json,
    read_json_list,
)
from plainformer.base.names import is_inside
from plainformer.base.output_folder import output_folder, replaced_folder
from plainformer.base.scratch import clear_leftovers

__all__ = [
    "AUTO",
    "Fields",
    "Inference",
    "NotJSON",
    "OneOf",
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
    "expanded",
    "find_folder",
    "from_json",
    "is_inside",
    "is_stream",
    "nan_to_null",
    "output_folder",
    "parse_json",
    "plural",
    "read_json",
    "read_json_list",
    "refuse_no_folder",
    "refuse_same_file",
    "refuse_unused",
    "remove_folder",
    "replaced_folder",
    "write_json",
    "write_text",
]
