"""Tokenize text with a SentencePiece model, and trace each token to its source.

    unigram   the segmentation x with the largest Σ log p(xᵢ) (Kudo, 2018)
    bpe       the best-ranked merge first, until none is left (Sennrich et al., 2016)

The `sentencepiece` library (Kudo & Richardson, 2018) normalises the text (NFKC, and white space to
a single `▁`) and splits it into pieces. Characters outside the vocabulary become UTF-8 bytes
`<0x00>` … `<0xFF>`, so no token is unknown. This module traces each piece back through the
normalisation to its offsets. A piece of a ligature, or a byte of a character, has the whole
character as its source; a `▁` that is only added at the start of the text has an empty one. No `▁`
is added after a special token, so that `[MASK]文` is tokenized like the masked text of pretraining.

As in BERT, a Chinese character is never in one piece with another character, and white space before
it is dropped, as is the `▁` at the start of a text. So Chinese text has the same tokens as its
characters one by one.

Words are defined as in `base.words`: a word begins at `▁`, at a sign, and at each piece of Chinese
or Japanese; a piece that begins with a mark continues the word before it.

The `tokenizer.json` that is saved with the model is a translation for `tokenizers`. It can differ
on rare combinations of marks, since `tokenizers` normalises by grapheme, and where a text contains
the characters `<0x41>`, which `tokenizers` reads as a byte.
"""

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import sentencepiece

from plainformer.base import UserError, atomic_path
from plainformer.base.words import HAN, unspaced_edges
from plainformer.tokenizer.base import (
    SPECIAL_TOKENS,
    Tokenizer,
    added_token,
)
from plainformer.tokenizer.chinese import HAN_FIRST, SPACE_BEFORE_HAN
from plainformer.tokenizer.encoding import CharSpan, Template, Tokens, trim
from plainformer.tokenizer.inputs import refuse_surrogates
from plainformer.tokenizer.word_ids import SPACE, PieceWords, by_word

MODEL_FILE = "tokenizer.model"
# The field `add_dummy_prefix: false`, in bytes: the last occurrence of a field counts.
_NO_PREFIX = b"\x1a\x02\x18\x00"
_SPECIAL = "|".join(map(re.escape, SPECIAL_TOKENS.values()))
_CUT = re.compile(f"({_SPECIAL})|{SPACE_BEFORE_HAN.pattern}")
_CUT_ASCII = re.compile(f"({_SPECIAL})")

_Segment = tuple[int, str, sentencepiece.SentencePieceProcessor | None, list[int]]
"""A part of the text: its start, characters, processor (None: a special token), and ids."""


class SentencePiece(Tokenizer):
    """A SentencePiece model that was trained by `train_tokenizer`.

    Raises:
        UserError: the bytes are not a SentencePiece model, or lack the special tokens.
    """

    special_tokens = SPECIAL_TOKENS

    def __init__(self, model: bytes, *, max_length: int | None = None) -> None:
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
            self._inside = sentencepiece.SentencePieceProcessor(model_proto=model + _NO_PREFIX)
            self._pieces = [self._processor.id_to_piece(id) for id in range(self.vocab_size)]
        except (RuntimeError, TypeError, UnicodeDecodeError):
            raise UserError("not a SentencePiece model: fetch or train it again") from None
        self.model = model
        self.max_length = max_length
        if not is_ours(model):
            raise UserError(
                f"the SentencePiece model lacks {', '.join(SPECIAL_TOKENS.values())} at ids 0 to "
                "4: convert it to a tokenizer.json with transformers"
            )
        self._id_of = {piece: id for id, piece in enumerate(self._pieces)}
        self._is_byte = [self._processor.is_byte(id) for id in range(self.vocab_size)]
        values = [
            int(piece[1:-1], 16) if byte else None
            for piece, byte in zip(self._pieces, self._is_byte, strict=True)
        ]
        self._word_ids = PieceWords(self._pieces, values, self.special_ids)
        self.template = Template.bert(self.cls_id, self.sep_id)

    @property
    def vocab_size(self) -> int:
        """Return the number of ids."""
        return int(self._processor.get_piece_size())

    @property
    def special_ids(self) -> frozenset[int]:
        """Return the ids of all special tokens."""
        return frozenset(range(len(SPECIAL_TOKENS)))

    def token(self, id: int) -> str:
        """Return the piece of an id."""
        return self._pieces[id]

    def id(self, token: str) -> int:
        """Return the id of a piece.

        Raises:
            UserError: the vocabulary has no such piece.
        """
        try:
            return self._id_of[token]
        except KeyError:
            raise UserError(f"the vocabulary has no token {token!r}") from None

    def words(self, text: str) -> list[list[int]]:
        """Return the ids of each word, without special tokens."""
        ids = [id for _, _, _, ids in self._segments(text) for id in ids]
        return by_word(ids, self._word_ids(ids))

    def spell(self, word: str) -> list[int]:
        """Return the ids of one word that is normalised already."""
        processor = self._processor if word.startswith(SPACE) else self._inside
        ids: list[int] = processor.encode(word.removeprefix(SPACE))
        return ids

    def tokens(self, text: str) -> Tokens:
        """Return the tokens of one text, without the template's special tokens."""
        return self._tokens(text)

    def _of_words(self, words: Iterable[str]) -> Iterator[Tokens]:
        """Tokenize words, without a space between two of a script that writes none."""
        joins_next = False
        for word in words:
            if word.isascii():
                yield self._cached(word)
                joins_next = False
            else:
                begins, ends = unspaced_edges(word)
                yield (self._cached_inside(word) if begins and joins_next else self._cached(word))
                joins_next = ends

    @cached_property
    def _cached_inside(self) -> Callable[[str], Tokens]:
        return self._caching(partial(self._tokens, is_joined=True))

    def _tokens(self, text: str, is_joined: bool = False) -> Tokens:
        ids: list[int] = []
        offsets: list[CharSpan] = []
        for start, segment, processor, segment_ids in self._segments(text, is_joined):
            ids += segment_ids
            if processor is None:
                offsets.append((start, start + len(segment)))
                continue
            sources = self._sources(processor, segment, segment_ids)
            for id, (first, last) in zip(segment_ids, sources, strict=True):
                span = start + first, start + last
                opens = self._pieces[id].startswith(SPACE)
                offsets.append(trim(text, *span) if opens else span)
        return Tokens(ids, offsets, self._word_ids(ids))

    def _segments(self, text: str, is_joined: bool = False) -> Iterator[_Segment]:
        """Split a text at special tokens, and at white space before a Chinese character.

        With `is_joined` the text continues another one, and no `▁` is added at its start.
        """
        refuse_surrogates(text)
        start = 0
        for cut in (_CUT_ASCII if text.isascii() else _CUT).finditer(text):
            yield self._segment(text, start, cut.start(), is_joined)
            if cut[1]:
                yield cut.start(), cut[1], None, [self._id_of[cut[1]]]
            start = cut.end()
        yield self._segment(text, start, len(text), is_joined)

    def _segment(self, text: str, start: int, end: int, is_joined: bool) -> _Segment:
        """Encode a part of a text, adding `▁` if it begins the text or follows white space."""
        segment = text[start:end]
        opens = segment[:1].isspace() or (start == 0 and not is_joined)
        is_open = opens and not HAN_FIRST.match(segment)
        processor = self._processor if is_open else self._inside
        return start, segment, processor, processor.encode(segment)

    def _sources(
        self, processor: sentencepiece.SentencePieceProcessor, text: str, ids: Sequence[int]
    ) -> Iterator[CharSpan]:
        """Trace each piece back to the text, through the origin of each normalised character."""
        normal, origin = processor.normalize(text, with_offsets=True)
        ends = list(origin)
        for position in range(len(normal) - 1, -1, -1):
            following = position + 1
            is_same = origin[position] == origin[following]
            ends[position] = ends[following] if is_same else origin[following]
        position = used_bytes = 0
        for id in ids:
            if self._is_byte[id]:
                yield origin[position], ends[position]
                used_bytes += 1
                if used_bytes == len(normal[position].encode()):
                    position, used_bytes = position + 1, 0
                continue
            last = position + len(self._pieces[id])
            opens_text = position == 0 and last == 1 and normal[0] == SPACE
            yield origin[position], origin[0] if opens_text else ends[last - 1]
            position = last

    def _decode(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        """Join pieces to text, with spaces around the special tokens that are kept."""
        parts: list[str] = []
        run: list[int] = []
        for id in (*ids, None):
            if id is not None and id not in self.special_ids:
                run.append(id)
            elif id is None or not skip_special_tokens:
                parts += [self._processor.decode(run)] if run else []
                parts += [self._pieces[id]] if id is not None else []
                run = []
        return " ".join(parts)

    def definition(self) -> dict[str, Any]:
        """Return the model's translation to `tokenizer.json`."""
        charsmap = base64.b64encode(_field(_field(self.model, 3), 2)).decode()
        template = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}]
        template += [{"Sequence": {"id": "A", "type_id": 0}}]
        template += [{"SpecialToken": {"id": "[SEP]", "type_id": 0}}]
        pair = [{"Sequence": {"id": "B", "type_id": 1}}]
        pair += [{"SpecialToken": {"id": "[SEP]", "type_id": 1}}]
        metaspace = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "first"}
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [added_token(self._pieces[id], id) for id in sorted(self.special_ids)],
            "normalizer": {
                "type": "Sequence",
                "normalizers": [
                    {"type": "Precompiled", "precompiled_charsmap": charsmap},
                    {"type": "Replace", "pattern": {"Regex": " +$"}, "content": ""},
                    {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
                ],
            },
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [
                    metaspace | {"split": True},
                    {
                        "type": "Split",
                        "pattern": {"Regex": f"{SPACE}(?=[{HAN}])"},
                        "behavior": "Removed",
                        "invert": False,
                    },
                ],
            },
            "post_processor": {
                "type": "TemplateProcessing",
                "single": template,
                "pair": template + pair,
                "special_tokens": {
                    token: {"id": token, "ids": [self.id(token)], "tokens": [token]}
                    for token in ("[CLS]", "[SEP]")
                },
            },
            "decoder": {
                "type": "Sequence",
                "decoders": [{"type": "ByteFallback"}, metaspace | {"split": True}],
            },
            "model": self._bpe() if self.is_bpe() else self._unigram(),
        }

    def score(self, id: int) -> float:
        """Return the score of a piece: its log-probability (unigram) or minus its rank (BPE)."""
        return float(self._processor.get_score(id))

    def is_bpe(self) -> bool:
        """Tell whether the model is BPE rather than unigram."""
        return _varint_field(_field(self.model, 2), 3) == 2

    def _unigram(self) -> dict[str, Any]:
        scores = [self.score(id) for id in range(self.vocab_size)]
        vocab = list(zip(self._pieces, scores, strict=True))
        return {"type": "Unigram", "unk_id": self.unk_id, "vocab": vocab, "byte_fallback": True}

    def _bpe(self) -> dict[str, Any]:
        """Translate BPE: list all pairs of pieces that spell a third, by the rank of the third."""
        special = self.special_ids
        merges = [
            [piece[:cut], piece[cut:]]
            for id, piece in sorted(enumerate(self._pieces), key=lambda item: -self.score(item[0]))
            if id not in special and not self._is_byte[id]
            for cut in range(1, len(piece))
            if piece[:cut] in self._id_of and piece[cut:] in self._id_of
        ]
        return {
            "type": "BPE",
            "unk_token": SPECIAL_TOKENS["unk"],
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": self._id_of,
            "merges": merges,
        }

    def config(self) -> dict[str, Any]:
        """Return the settings of `tokenizer_config.json`."""
        return {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        }

    def save(self, folder: str | Path) -> None:
        """Write the SentencePiece model, `tokenizer.json` and `tokenizer_config.json`."""
        super().save(folder)
        with atomic_path(Path(folder) / MODEL_FILE) as path:
            path.write_bytes(self.model)


def is_ours(model: bytes) -> bool:
    """Tell by its special tokens whether a SentencePiece model was trained here."""
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    except (RuntimeError, TypeError, UnicodeDecodeError):  # the last: in the text of an error
        return False
    first = range(min(len(SPECIAL_TOKENS), processor.get_piece_size()))
    return [processor.id_to_piece(id) for id in first] == list(SPECIAL_TOKENS.values())


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a protocol-buffer message: number, and integer or bytes.

    The library exposes neither the normalisation table nor the type of a model; reading the two
    here avoids a dependency on `protobuf`.
    """
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(message):
        key = varint()
        wire_type = key & 7
        if wire_type == 0:
            yield key >> 3, varint()
        else:
            length = {1: 8, 5: 4}.get(wire_type) or varint()
            yield key >> 3, message[position : position + length]
            position += length


def _field(message: bytes, number: int) -> bytes:
    return next((v for n, v in _fields(message) if n == number and isinstance(v, bytes)), b"")


def _varint_field(message: bytes, number: int) -> int:
    return next((v for n, v in _fields(message) if n == number and isinstance(v, int)), 0)
