"""Write a count with its noun in the singular or plural."""


def plural(count: int, one: str, many: str = "") -> str:
    """Write a count with its noun; the plural `many` is by default `one` with an s.

    >>> plural(1, "text"), plural(0, "text"), plural(2000, "copy", "copies")
    ('1 text', '0 texts', '2,000 copies')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
