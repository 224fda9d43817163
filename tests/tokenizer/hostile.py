"""Text that breaks tokenizers: what normalises oddly, stands between words, or looks special."""

import unicodedata

from hypothesis import strategies as st

PIECES = [
    *"ab XY.,'-#\t\n\r\v\f\x00\x1c\x7f\x85\xa0\u200b\u200d\ufeff\ufffd\u3000\u2028",
    *"éÉßİıΣςǅﬁﬃＦ１½…¨₩≠\u037e\u0301\u0300\u0345\u20dd",
    *"中文龘、。，豈\U00020000\U0002f80d한글\u1100\u1161ｶﾞ",
    *"שׁلاम्ब😀🏽❤\ufe0f▁",
    "👨‍👩‍👧",
    "🇩🇪",
    "cafe\u0301",
    "walking",
    "[MASK]",
    "[SEP]",
    "[mask]",
    "##a",
    "<0x41>",
    "x" * 99,
    "x" * 101,
]
"""Marks that are kept and out of canonical order are the one case that is not in here."""

hostile = st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(codec="utf-8"), max_size=3), max_size=12
).map("".join)


SCRIPTS_WITHOUT_SPACES = ("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO")


def has_plain_words(text: str) -> bool:
    """Tell whether a text is without marks, and of scripts that write spaces."""
    return all(
        unicodedata.category(c) not in ("Mn", "Mc", "Me", "Cf", "Sk", "Lm", "Cn")
        and not any(script in unicodedata.name(c, "") for script in SCRIPTS_WITHOUT_SPACES)
        for c in text
    )
