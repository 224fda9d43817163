"""Check that a file name read from a file stays inside its folder."""

from pathlib import PurePosixPath, PureWindowsPath


def is_inside(name: str) -> bool:
    r"""Tell whether a relative name stays inside its folder: no `..`, no `/etc`, no `C:\`."""
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(name)
        if not path.parts or path.anchor or ".." in path.parts:
            return False
    return "\0" not in name
