"""Tokenise raw text, white space included, with SentencePiece, and trace tokens to their source.

    unigram   the segmentation x with the largest Σ log p(xᵢ) (Kudo, 2018)
    bpe       the best-ranked merge first, until none is left (Sennrich et al., 2016)

The text is normalised (NFKC, and runs of white space to one `▁`), cut into pieces, and what the
vocabulary cannot spell becomes UTF-8 bytes `<0x00>` … `<0xFF>`, so nothing is ever unknown.
The `sentencepiece` library (Kudo & Richardson, 2018) does this; here the pieces are traced back
through the normalisation to their source. A token that is part of a ligature or of a character's
bytes has the whole character as its source; a `▁` that only opens the text has none. Behind a
special token none is added: `[MASK]文` reads as the masked text of pretraining does.

A Chinese character is a piece of its own, as in BERT: training lets none stand in a piece with
another character, and white space before one is dropped, with the `▁` that would open the text. So
a text has the tokens that its characters have one by one.

Words are those of `base.words`: they begin at `▁`, at a sign, and at each piece of Chinese or
Japanese; a piece that begins with a mark goes on with the word before it.

The `tokenizer.json` that is saved beside the model is its translation for `tokenizers`, which
normalises a grapheme at a time, and takes a `<0x41>` that a text spells out for the byte: there,
and on unusual combinations of marks, the two can differ. Here the model is what decides.
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
    by_word,
    refuse_surrogates,
)
from plainformer.tokenizer.chinese import HAN_FIRST, SPACE_BEFORE_HAN
from plainformer.tokenizer.encoding import CharSpan, Template, Tokens, trim
from plainformer.tokenizer.word_ids import SPACE, PieceWords

MODEL_FILE = "tokenizer.model"
# `add_dummy_prefix: false`, as bytes of a model: of a field that comes twice the last counts.
_NO_PREFIX = b"\x1a\x02\x18\x00"
_SPECIAL = "|".join(map(re.escape, SPECIAL_TOKENS.values()))
_CUT = re.compile(f"({_SPECIAL})|{SPACE_BEFORE_HAN.pattern}")
_CUT_ASCII = re.compile(f"({_SPECIAL})")

_Segment = tuple[int, str, sentencepiece.SentencePieceProcessor | None, list[int]]
"""Start of a part of the text, the part, its encoding (None: a special token), and its ids."""


class SentencePiece(Tokenizer):
    """A SentencePiece model that was trained by `train_tokenizer`.

    Raises:
        UserError: the bytes are no SentencePiece model, or one without our special pieces.
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
        """The number of ids."""
        return int(self._processor.get_piece_size())

    @property
    def special_ids(self) -> frozenset[int]:
        """The ids of all special tokens."""
        return frozenset(range(len(SPECIAL_TOKENS)))

    def token(self, id: int) -> str:
        """Give the piece of an id."""
        return self._pieces[id]

    def id(self, token: str) -> int:
        """Give the id of a piece.

        Raises:
            UserError: the vocabulary has no such piece.
        """
        try:
            return self._id_of[token]
        except KeyError:
            raise UserError(f"the vocabulary has no token {token!r}") from None

    def words(self, text: str) -> list[list[int]]:
        """Give the ids of each word, without special tokens."""
        ids = [id for _, _, _, ids in self._segments(text) for id in ids]
        return by_word(ids, self._word_ids(ids))

    def spell(self, word: str) -> list[int]:
        """Give the ids of one word, normalised already."""
        processor = self._processor if word.startswith(SPACE) else self._inside
        ids: list[int] = processor.encode(word.removeprefix(SPACE))
        return ids

    def tokens(self, text: str) -> Tokens:
        """Give the tokens of one text, without the template's special tokens."""
        return self._tokens(text)

    def _of_words(self, words: Iterable[str]) -> Iterator[Tokens]:
        """Tokenise words; without spaces between them in a script that has none."""
        goes_on = False
        for word in words:
            if word.isascii():
                yield self._cached(word)
                goes_on = False
            else:
                begins, ends = unspaced_edges(word)
                yield (self._cached_inside(word) if begins and goes_on else self._cached(word))
                goes_on = ends

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

        `is_joined`: the text continues another one without a space.
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
        """Encode a part of a text, with `▁` before it if it begins the text or a word."""
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

    def _decode(self, ids: Iterable[int], skip_special_tokens: bool) -> str:
        """Join pieces to text; special tokens, where they are kept, stand between spaces."""
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
        """Give the model's translation to `tokenizer.json`."""
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
        """Give the score of a piece: its log-probability, or the merge that it comes with."""
        return float(self._processor.get_score(id))

    def is_bpe(self) -> bool:
        """Tell whether pieces are merged by rank, not chosen by probability."""
        return _varint_field(_field(self.model, 2), 3) == 2

    def _unigram(self) -> dict[str, Any]:
        scores = [self.score(id) for id in range(self.vocab_size)]
        vocab = list(zip(self._pieces, scores, strict=True))
        return {"type": "Unigram", "unk_id": self.unk_id, "vocab": vocab, "byte_fallback": True}

    def _bpe(self) -> dict[str, Any]:
        """Merge any two pieces that spell a third, in order of that one's rank."""
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
        """Give the settings of `tokenizer_config.json`."""
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
    """Tell whether a SentencePiece model was trained here: by its special pieces."""
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    except (RuntimeError, TypeError, UnicodeDecodeError):  # the last: an error's own text
        return False
    first = range(min(len(SPECIAL_TOKENS), processor.get_piece_size()))
    return [processor.id_to_piece(id) for id in first] == list(SPECIAL_TOKENS.values())


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Read the fields of a protocol-buffer message: numbers, with integers or bytes.

    The library tells neither its normalisation table nor its kind, and these two are not worth
    depending on `protobuf`.
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
