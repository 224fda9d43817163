"""Write counts and durations in words and in few characters."""


def plural(count: int, one: str, many: str = "") -> str:
    """Write a count with its noun; the plural `many` is by default `one` with an s.

    >>> plural(1, "text"), plural(0, "text"), plural(2000, "copy", "copies")
    ('1 text', '0 texts', '2,000 copies')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def short(number: float) -> str:
    """Write a number in few characters: 987, 12.3k, 1.25M."""
    rounded = float(f"{number:.3g}")  # so that 999,960 is 1M, not 1e+03k
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if rounded >= size:
            return f"{rounded / size:.3g}{letter}"
    return f"{number:.0f}"


def clock(seconds: float) -> str:
    """Write seconds as minutes or hours: 4:12, 1h23."""
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours}h{left:02d}" if hours else f"{minutes}:{rest:02d}"
