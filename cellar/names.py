"""Names that are read from a file and become paths: none may lead out of the folder it is for."""

from pathlib import PurePosixPath, PureWindowsPath


def is_inside(name: str) -> bool:
    r"""Tell whether a name stays in the folder it is read for: no `..`, no `/etc`, no `C:\`."""
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(name)
        if not path.parts or path.anchor or ".." in path.parts:
            return False
    return "\0" not in name
