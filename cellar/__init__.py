"""What every room of the house stands on: the error that a user sees, and files written whole."""

from cellar.errors import UserError
from cellar.files import atomic_folder, atomic_path, write_json, write_text

__all__ = ["UserError", "atomic_folder", "atomic_path", "write_json", "write_text"]
