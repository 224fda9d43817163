"""Assign each token to a word of its text, for whole-word masking.

Words are defined as in `base.words`, for every tokenizer. A piece that begins with a mark (a vowel
sign, an accent) continues the word before it, and all bytes of a character belong to one word. Each
piece of Chinese or Japanese, and each sign, is a word.
"""

from collections.abc import Container, Iterable, Sequence

from plainformer.base.words import KIND, Kind
from plainformer.tokenizer.encoding import CharSpan

SPACE = "▁"
_MARK, _LETTER, _SIGN, _SPACE, _APART, _BYTE = range(6)
_CODE: dict[Kind, int] = {"mark": _MARK, "letter": _LETTER, "space": _SPACE}


class PieceWords:
    """Compute the word ids of SentencePiece's tokens from the pieces alone.

    Args:
        pieces: the piece of each id, with `▁` for a space.
        values: the byte of each id that encodes a byte, else None.
        special: the ids of special tokens, each of which is a word.
    """

    def __init__(
        self, pieces: Sequence[str], values: Sequence[int | None], special: Container[int]
    ) -> None:
        self._edges = [
            (_APART, _APART) if id in special else (_BYTE, value) if value is not None else ends
            for id, (ends, value) in enumerate(zip(map(_ends, pieces), values, strict=True))
        ]

    def __call__(self, ids: Sequence[int]) -> list[int]:
        """Return the word number of each token, counted from 0."""
        word_ids = []
        edges = self._edges
        word, before = -1, _APART
        for position, id in enumerate(ids):
            first, last = edges[id]
            if first == _BYTE:
                if 0x80 <= last < 0xC0 and word >= 0:  # it continues a character
                    word_ids.append(word)
                    continue
                first = last = self._character(ids[position : position + 4])
            word += (
                before == _APART
                or first == _APART
                or (before != _SPACE and (first == _SIGN or (first == _LETTER and before == _SIGN)))
            )
            word_ids.append(word)
            if last != _MARK:
                before = last
            elif before != _LETTER:
                before = _SIGN
        return word_ids

    def _character(self, ids: Sequence[int]) -> int:
        """Return the code of the character that begins with the first byte of `ids`."""
        edges = (self._edges[id] for id in ids)
        values = bytes(value for first, value in edges if first == _BYTE)
        return _CODE.get(KIND[values.decode(errors="replace")[0]], _SIGN)


def _ends(piece: str) -> tuple[int, int]:
    """Return the codes of a piece's first character and of its last one that is not a mark."""
    if piece == SPACE:
        return _SIGN, _SPACE
    first = _SIGN if piece.startswith(SPACE) else _CODE.get(KIND[piece[0]], _SIGN)
    bases = (kind for kind in map(KIND.__getitem__, reversed(piece)) if kind != "mark")
    last = next(bases, None)
    return first, _MARK if last is None else _CODE.get(last, _SIGN)


def refine(
    text: str, offsets: Iterable[CharSpan], word_ids: list[int], apart: Iterable[bool]
) -> list[int]:
    """Correct the word ids of a pre-tokenizer at marks and in scripts without spaces.

    The `\\p{L}+` of byte-level BPE separates a letter from its vowel sign, and a metaspace treats a
    Chinese sentence as one word. All other words are left as they are.

    Args:
        text: the text.
        offsets: the source of each token, without leading white space.
        word_ids: the words of the pre-tokenizer.
        apart: for each token, whether it is an added token.
    """
    if text.isascii():
        return word_ids
    kinds = list(map(KIND.__getitem__, text))
    if "mark" not in kinds and "alone" not in kinds:
        return word_ids
    corrected: list[int] = []
    word, reached, last_id = -1, 0, -1
    before: Kind = "space"  # the kind of the current word
    for (start, end), word_id, is_apart in zip(offsets, word_ids, apart, strict=True):
        is_new = word_id != last_id
        last_id = word_id
        if start < reached:
            is_new = False  # tokens of one character
        elif start == reached and start < end and before != "space" and not is_apart:
            first = kinds[start]
            if first == "mark":
                is_new = False
            elif first == "alone" or before == "alone":
                is_new = True
            elif before == first == "letter" and kinds[start - 1] == "mark":
                is_new = False
        word += is_new
        corrected.append(word)
        if end > reached:
            reached = end
            last = end - 1
            while kinds[last] == "mark" and last > start:
                last -= 1
            if kinds[last] != "mark":
                before = kinds[last]
        if is_apart:
            before = "space"
    return corrected


def by_word(ids: Iterable[int], word_ids: Iterable[int]) -> list[list[int]]:
    """Group ids by word."""
    words: list[list[int]] = []
    last = None
    for id, word in zip(ids, word_ids, strict=True):
        if word == last:
            words[-1].append(id)
        else:
            words.append([id])
            last = word
    return words
