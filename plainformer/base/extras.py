"""Ask for the packages of an optional feature."""

from importlib.util import find_spec

from plainformer.base.errors import UserError


def need(*packages: str, extra: str, purpose: str) -> None:
    """Raise `UserError`, with the line that installs them, unless all `packages` are there."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise UserError(
            f"{' and '.join(missing)} {verb} needed for {purpose}: pip install "
            f"'plainformer[{extra}]'"
        )
