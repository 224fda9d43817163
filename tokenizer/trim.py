"""Reduce a vocabulary to some of its tokens; they keep their order, and get the ids 0, 1, 2 …

A text whose tokens are all kept is split as before: WordPiece takes the longest piece that is
there, and Unigram the pieces of the largest total score, so that what is missing was never chosen.
Of other texts a word is split into smaller pieces, or becomes the unknown token. BPE builds a piece
by merging others, which are then needed, too: it is not supported.
"""

from collections.abc import Sequence
from typing import Any

from plainformer.base import UserError
from plainformer.tokenizer.base import Tokenizer
from plainformer.tokenizer.huggingface import HuggingFace
from plainformer.tokenizer.wordpiece import PREFIX, WordPiece

MARKS = (PREFIX, "▁")
"""Prefixes that mark a piece within a word (WordPiece), or at its start (Unigram)."""


def always_kept(tokenizer: Tokenizer) -> set[int]:
    """Return the ids of special tokens, of single characters and of bytes."""
    kept = set(tokenizer.special_ids)
    for id in range(tokenizer.vocab_size):
        token = tokenizer.token(id)
        piece = next((token.removeprefix(m) for m in MARKS if token.startswith(m)), token)
        if len(piece) <= 1 or (len(token) == 6 and token.startswith("<0x")):
            kept.add(id)
    return kept


def trim(tokenizer: Tokenizer, kept: Sequence[int]) -> Tokenizer:
    """Return a tokenizer with the tokens of these ids alone, in rising order.

    Raises:
        UserError: the tokenizer is neither WordPiece nor a Unigram in a `tokenizer.json`, or its
            ids have gaps.
    """
    match tokenizer:
        case WordPiece():
            trimmed: Tokenizer = WordPiece(
                [tokenizer.vocabulary[id] for id in kept],
                lowercase=tokenizer.lowercase,
                strip_accents=tokenizer.strip_accents,
                chinese_characters=tokenizer.chinese_characters,
                special_tokens=tokenizer.special_tokens,
                added=[tokenizer.token(id) for id in sorted(tokenizer.special_ids)],
            )
        case HuggingFace():
            trimmed = HuggingFace(
                _definition(tokenizer, {old: new for new, old in enumerate(kept)}),
                # Any other class would build the vocabulary anew, with ids of its own.
                config=tokenizer.config() | {"tokenizer_class": "PreTrainedTokenizerFast"},
                special_tokens=tokenizer.special_tokens,
            )
        case _:
            raise UserError("the vocabulary of a SentencePiece model cannot be trimmed")
    trimmed.copy_settings(tokenizer)
    return trimmed


def _definition(tokenizer: HuggingFace, new: dict[int, int]) -> dict[str, Any]:
    """Return a `tokenizer.json` with the tokens of `new`, old id -> new id."""
    definition = tokenizer.definition()
    model, added = definition["model"], definition["added_tokens"]
    if model["type"] not in ("Unigram", "WordPiece"):
        raise UserError(f"a vocabulary of {model['type']} cannot be trimmed: its pieces are merged")
    if tokenizer.largest_id >= tokenizer.vocab_size:
        raise UserError("the ids of this tokenizer.json have gaps: it cannot be trimmed")
    changed: dict[str, Any]
    if model["type"] == "Unigram":
        vocab = [entry for id, entry in enumerate(model["vocab"]) if id in new]
        changed = {"vocab": vocab, "unk_id": new.get(model["unk_id"])}
    else:
        changed = {"vocab": {t: new[id] for t, id in model["vocab"].items() if id in new}}
    return definition | {
        "model": model | changed,
        "added_tokens": [token | {"id": new[token["id"]]} for token in added if token["id"] in new],
        "post_processor": _renumbered(definition.get("post_processor"), new),
    }


def _renumbered(processor: Any, new: dict[int, int]) -> Any:
    """Return the settings of a post-processor with new ids."""
    if not isinstance(processor, dict):
        return processor
    changed = dict(processor)
    for role in ("cls", "sep"):  # of BERT's and RoBERTa's
        if isinstance(processor.get(role), list):
            token, id = processor[role]
            changed[role] = [token, new[id]]
    if isinstance(processor.get("special_tokens"), dict):  # of a template
        changed["special_tokens"] = {
            name: token | {"ids": [new[id] for id in token["ids"]]}
            for name, token in processor["special_tokens"].items()
        }
    if "processors" in processor:  # of a sequence
        changed["processors"] = [_renumbered(part, new) for part in processor["processors"]]
    return changed
