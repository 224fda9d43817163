"""Separate Chinese characters, so that each becomes a token of its own, as in BERT."""

import re
import unicodedata

from plainformer.base.words import HAN

# Compatibility characters whose NFKC form is a Chinese character.
_LIKE_HAN = (
    r"\u2e9f\u2ef3\u2f00-\u2fd5\u3038-\u303a\u3192-\u319f\u3244-\u3247\u3280-\u32b0\u32ff"
    r"\u337b-\u337f\U0001f210-\U0001f212\U0001f214-\U0001f23b\U0001f250\U0001f251"
)
# Characters that SentencePiece normalises to a space, or drops.
_SPACES = (
    r"\x01-\x20\x7f\x8f\x9f\xa0\u061c\u1680\u2000-\u200c\u200e\u200f\u2028\u2029\u202f"
    r"\u205f\u2581\u3000\ufeff\ufffd"
)
HAN_FIRST = re.compile(f"[{HAN}{_LIKE_HAN}]")
SPACE_BEFORE_HAN = re.compile(f"[{_SPACES}]+(?={HAN_FIRST.pattern})")
_LIKE = re.compile(f"[{_LIKE_HAN}]")
_EACH = re.compile(f"([{HAN}])")


def part_han(text: str, delimiter: str) -> str:
    """Separate Chinese characters from their neighbours, to train a vocabulary."""
    if text.isascii():
        return text
    plain = _LIKE.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    return _EACH.sub(rf"{delimiter}\1{delimiter}", SPACE_BEFORE_HAN.sub("", plain))
