"""Opening a tokenizer's folder: the files that are there decide its kind."""

import json
from pathlib import Path
from typing import Any

from cellar import UserError, find_folder
from tokenizer.base import SPECIAL_TOKENS, Tokenizer
from tokenizer.huggingface import HuggingFace
from tokenizer.sentence_piece import MODEL_FILE, SentencePiece, is_ours
from tokenizer.wordpiece import LONGEST_WORD, PREFIX, WordPiece

SOURCES = ("spiece.model", "sentencepiece.bpe.model", "vocab.json", "merges.txt")
"""what older folders have in place of a `tokenizer.json`"""


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Open the tokenizer of a folder (or a hub id) that was saved here or by Hugging Face.

    Raises:
        UserError: the folder or its files are missing, or a file is damaged.
    """
    folder = find_folder(folder)
    config = _json(folder / "tokenizer_config.json", default={})
    model, definition, vocab = (
        folder / name for name in (MODEL_FILE, "tokenizer.json", "vocab.txt")
    )
    try:
        if model.is_file() and (is_ours(model.read_bytes()) or not definition.is_file()):
            return SentencePiece(model.read_bytes(), max_length=_length_limit(config))
        if definition.is_file():
            return _from_definition(_json(definition), folder, config)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    if vocab.is_file():
        return _wordpiece_from_vocab(vocab, config)
    for name in SOURCES:
        if (folder / name).is_file():
            raise UserError(
                f"{folder} has {name}, but no {definition.name}: open it once with transformers' "
                "AutoTokenizer, and save_pretrained writes one"
            )
    raise UserError(
        f"{folder} has no tokenizer: looked for {model.name}, {definition.name} and {vocab.name}"
    )


def _from_definition(
    definition: dict[str, Any], folder: Path, config: dict[str, Any]
) -> WordPiece | HuggingFace:
    if _is_wordpiece(definition):
        return _wordpiece_from_json(definition, config)
    roles = _special_roles(_json(folder / "special_tokens_map.json", default={}) | config)
    return HuggingFace(
        definition, config=config, special_tokens=roles, max_length=_length_limit(config)
    )


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}): fetch it again") from None


def _json(path: Path, default: dict[str, Any] | None = None) -> dict[str, Any]:
    if default is not None and not path.exists():
        return default
    try:
        value = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: not JSON ({error.msg})") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} is not a JSON object")
    return value


def _special_roles(config: dict[str, Any]) -> dict[str, str]:
    """Read the special tokens of `tokenizer_config.json`: strings, or objects with `content`."""
    roles = {}
    for role in SPECIAL_TOKENS:
        token = config.get(f"{role}_token")
        token = token.get("content") if isinstance(token, dict) else token
        if token is not None:
            roles[role] = str(token)
    return roles


def _length_limit(config: dict[str, Any]) -> int | None:
    """Read `model_max_length`; Hugging Face writes 1e30 where there is none."""
    length = config.get("model_max_length")
    return int(length) if isinstance(length, (int, float)) and length < 1e9 else None


def _is_wordpiece(definition: dict[str, Any]) -> bool:
    """Tell whether a `tokenizer.json` is BERT's pipeline, and nothing else."""
    model = definition.get("model") or {}
    normalizer = definition.get("normalizer") or {}
    ids = sorted((model.get("vocab") or {}).values()) if model.get("type") == "WordPiece" else []
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return (
        bool(ids)
        and ids == list(range(len(ids)))
        and model.get("continuing_subword_prefix") == PREFIX
        and model.get("max_input_chars_per_word") == LONGEST_WORD
        and normalizer.get("type") == "BertNormalizer"
        and normalizer.get("clean_text") is True
        and {"lowercase", "strip_accents", "handle_chinese_chars"} <= normalizer.keys()
        and _is_bert_template(definition.get("post_processor") or {})
        and (definition.get("pre_tokenizer") or {}).get("type") == "BertPreTokenizer"
        and all(
            plain.items() <= added.items() and added["content"] in model["vocab"]
            for added in definition.get("added_tokens", [])
        )
    )


def _is_bert_template(processor: dict[str, Any]) -> bool:
    if processor.get("type") != "TemplateProcessing":
        return processor.get("type") == "BertProcessing"
    places = [next(iter(part.values())) for part in processor["single"] + processor["pair"]]
    kinds = [next(iter(part)) for part in processor["single"] + processor["pair"]]
    special, text = "SpecialToken", "Sequence"
    return (
        kinds == [special, text, special, special, text, special, text, special]
        and len({places[i]["id"] for i in (2, 5, 7)}) == 1
        and places[0] == places[3]
        and [place["type_id"] for place in places] == [0, 0, 0, 0, 0, 0, 1, 1]
    )


def _wordpiece_from_json(definition: dict[str, Any], config: dict[str, Any]) -> WordPiece:
    """Build WordPiece from BERT's `tokenizer.json`."""
    vocabulary = definition["model"]["vocab"]
    normalizer = definition["normalizer"]
    return WordPiece(
        sorted(vocabulary, key=vocabulary.__getitem__),
        lowercase=normalizer["lowercase"],
        strip_accents=normalizer["strip_accents"],
        chinese_characters=normalizer["handle_chinese_chars"],
        special_tokens=SPECIAL_TOKENS | _special_roles(config),
        added=[added["content"] for added in definition["added_tokens"]],
        max_length=_length_limit(config),
    )


def _wordpiece_from_vocab(path: Path, config: dict[str, Any]) -> WordPiece:
    lines = _text(path).removesuffix("\n").split("\n")
    vocabulary = [line.removesuffix("\r") for line in lines]
    seen: dict[str, int] = {}
    for number, token in enumerate(vocabulary, 1):
        if token in seen:
            raise UserError(
                f"{path}, line {number}: {token!r} stands in line {seen[token]} already"
            )
        seen[token] = number
    return WordPiece(
        vocabulary,
        lowercase=config.get("do_lower_case", True),
        strip_accents=config.get("strip_accents"),
        chinese_characters=config.get("tokenize_chinese_chars", True),
        special_tokens=SPECIAL_TOKENS | _special_roles(config),
        max_length=_length_limit(config),
    )
