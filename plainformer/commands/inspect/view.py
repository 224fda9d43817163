"""The options that every view of `plainformer inspect` has."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """The options of one view; `name` is that of its file."""

    name: str
