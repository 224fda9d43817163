"""Read the tokenizer files of a folder as `transformers` 5 does.

    tokenizer_config.json     the class, its settings, the special tokens by role, added tokens
    special_tokens_map.json   special tokens by role and further ones, in older folders
    added_tokens.json         tokens added after the vocabulary, in older folders
    tokenizer.json            the whole pipeline, or only the vocabulary (see `pipelines`)
    vocab.txt                 the vocabulary of WordPiece, one token per line
    vocab.json, merges.txt    the vocabulary and merges of byte-level BPE
    config.json               the class, if no other file names one

With `added_tokens_decoder` in `tokenizer_config.json`, the two files of older folders are not read.

The other fields of `tokenizer_config.json` do not change ids, offsets or text: they concern chat
templates and remote files, or `transformers` 5 does not read them either.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plainformer.base import Fields, UserError, read_json

AddedToken = dict[str, Any]
"""A token and its flags, as in `added_tokens` of `tokenizer.json`, without its id."""

ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
FLAGS = ("single_word", "lstrip", "rstrip")

CLASS_OF_MODEL = {
    "bert": "BertTokenizer",
    "distilbert": "BertTokenizer",
    "electra": "BertTokenizer",
    "mpnet": "MPNetTokenizer",
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "camembert": "CamembertTokenizer",
    "albert": "AlbertTokenizer",
    "modernbert": "TokenizersBackend",
}
"""The default tokenizer class of each `model_type`."""

_SAME_CLASS = {
    "DistilBertTokenizer": "BertTokenizer",
    "ElectraTokenizer": "BertTokenizer",
    "MobileBertTokenizer": "BertTokenizer",
    "SqueezeBertTokenizer": "BertTokenizer",
    "LayoutLMTokenizer": "BertTokenizer",
    "ConvBertTokenizer": "BertTokenizer",
    "LxmertTokenizer": "BertTokenizer",
    "BartTokenizer": "RobertaTokenizer",
    "LongformerTokenizer": "RobertaTokenizer",
    "LEDTokenizer": "RobertaTokenizer",
    "MvpTokenizer": "RobertaTokenizer",
}
READ_UNCHANGED = ("", "TokenizersBackend", "PreTrainedTokenizer")
"""The classes that use their `tokenizer.json` unchanged."""

_IN_PYTHON = {
    "BertJapaneseTokenizer": "splits words with MeCab, Sudachi or Juman++, or into characters",
    "BertweetTokenizer": "normalises tweets",
    "PhobertTokenizer": "expects words that are joined by VnCoreNLP",
    "FlaubertTokenizer": "cuts words by sacremoses",
    "XLMTokenizer": "cuts words by sacremoses",
    "CanineTokenizer": "reads code points",
    "RoCBertTokenizer": "reads shapes and sounds of characters",
    "TapasTokenizer": "reads tables",
    "ProphetNetTokenizer": "is another WordPiece",
    "BertGenerationTokenizer": "reads a SentencePiece model",
    "EsmTokenizer": "reads proteins",
    "CpmTokenizer": "splits words with jieba",
}


@dataclass
class TokenizerFolder:
    """The merged content of the files in a folder.

    `config` is `tokenizer_config.json` with `special_tokens_map.json` merged into it; `tokens` are
    the added tokens, each with its id in the files or None; `roles` are the special tokens by role
    (`{"cls": …}`), and `extra` the special tokens without a role.
    """

    path: Path
    tokenizer_class: str
    model_type: str
    config: Fields
    definition: Fields | None
    tokens: list[tuple[AddedToken, int | None]] = field(default_factory=list)
    roles: dict[str, AddedToken] = field(default_factory=dict)
    extra: list[AddedToken] = field(default_factory=list)

    @property
    def max_length(self) -> int | None:
        """Return the longest sequence; None for no limit, which is stored as 1e30."""
        name = "model_max_length" if "model_max_length" in self.config else "max_len"
        length = self.config.number(name, None, least=1)
        return int(length) if length is not None and length < 1e9 else None

    def side(self, name: str, part: str) -> str:
        """Return `truncation_side` or `padding_side`, else what `tokenizer.json` says."""
        former = self.definition.fields(part) if self.definition else Fields({}, "")
        return str(
            self.config.choice(name, ("left", "right"), former.text("direction", "right").lower())
        )


def read_folder(path: Path) -> TokenizerFolder:
    """Read all files except the vocabularies.

    Raises:
        UserError: a file is damaged, or requires a feature that is not supported.
    """
    config = _fields(path / "tokenizer_config.json") or Fields({}, path / "tokenizer_config.json")
    definition = _fields(path / "tokenizer.json")
    _refuse_other_files(config)
    model = _fields(path / "config.json") or Fields({}, path / "config.json")
    name = _class_of(path, config, model)
    values = dict(config.values)
    tokens: dict[int, AddedToken] = {}
    if "added_tokens_decoder" in values:
        listed = config.fields("added_tokens_decoder")
        for key in listed.values:
            if not key.isdecimal() or len(key) > 9:
                raise UserError(f"{listed.source}: {key!r} is not an id")
            tokens[int(key)] = added_token_of(listed.values[key], listed.source)
    else:
        special_map = _fields(path / "special_tokens_map.json")
        if special_map is not None:
            values |= {k: _marked_special(v) for k, v in special_map.values.items() if v}
    merged = Fields(values, config.source)
    named = dict(_named_tokens(merged))
    extra = _extra_tokens(config, Fields(values, path / "special_tokens_map.json"))
    if "added_tokens_decoder" not in values:
        special = {token["content"] for name, token in named.items() if name in ROLES}
        special |= {token["content"] for token in _extra_tokens(config, config)}
        tokens = {id: token for token, id in _added_file(path / "added_tokens.json", special)}
        if definition is not None:
            for item in definition.items("added_tokens", []):
                tokens[_id_of(item, definition)] = added_token_of(item, definition.source)
    by_content = {token["content"]: token for token in tokens.values()}
    roles = {name: by_content.get(token["content"], token) for name, token in named.items()}
    return TokenizerFolder(
        path,
        name,
        model.text("model_type", ""),
        merged,
        definition,
        tokens=[(token, id) for id, token in sorted(tokens.items())],
        roles=roles,
        extra=extra,
    )


def _fields(path: Path) -> Fields | None:
    return Fields(read_json(path), path) if path.is_file() else None


def _class_of(folder: Path, config: Fields, model: Fields) -> str:
    """Find the tokenizer's class as `AutoTokenizer` does.

    Raises:
        UserError: the class is implemented in Python, in the folder or in `transformers`.
    """
    of_model = CLASS_OF_MODEL.get(model.text("model_type", ""), "")
    named = config.text("tokenizer_class", "") or model.text("tokenizer_class", "")
    name = "" if of_model == "TokenizersBackend" else named.removesuffix("Fast") or of_model
    if name in _IN_PYTHON:
        raise UserError(
            f"{folder}: tokenizer_class {name} {_IN_PYTHON[name]}, which is not supported"
        )
    if config.values.get("auto_map") and name not in READ_UNCHANGED and name not in _known():
        raise UserError(f"{config.source}: {name} is custom code (auto_map), which is never run")
    return _SAME_CLASS.get(name, name)


def _refuse_other_files(config: Fields) -> None:
    files = config.texts("fast_tokenizer_files", [])
    if any(re.fullmatch(r"tokenizer\..+\.json", name) for name in files):
        raise UserError(f"{config.source}: fast_tokenizer_files names other files: not supported")


def _known() -> set[str]:
    return {*CLASS_OF_MODEL.values(), *_SAME_CLASS}


def added_token_of(value: Any, source: object) -> AddedToken:
    """Read a token: a string, for a special token, or an object with `content` and flags.

    Raises:
        UserError: the value is neither.
    """
    if isinstance(value, str):
        return {"content": value, **dict.fromkeys((*FLAGS, "normalized"), False), "special": True}
    fields = Fields(value, f"{source}: a token")
    return {
        "content": fields.text("content"),
        **{name: fields.flag(name, False) for name in FLAGS},
        "normalized": fields.flag("normalized", None),
        "special": fields.flag("special", False),
    }


def with_default_flags(token: AddedToken) -> AddedToken:
    """Set `normalized` if it is missing: a special token is matched in the raw text."""
    is_missing = token["normalized"] is None
    return token | {"normalized": not token["special"]} if is_missing else token


def _marked_special(value: Any) -> Any:
    """Set the flag `special` of every token object in a value of `special_tokens_map.json`."""
    if isinstance(value, list):
        return [_marked_special(item) for item in value]
    return value | {"special": True} if isinstance(value, dict) and "content" in value else value


def _named_tokens(config: Fields) -> Iterator[tuple[str, AddedToken]]:
    """Yield the tokens with a role: first the roles in `ROLES`, then further roles of the model."""
    for role in ROLES:
        name = f"{role}_token"
        if name in config:
            yield role, _named(config, name)
    further = {n: v for n, v in config.values.items() if n.endswith("_token")}
    for name in ("model_specific_special_tokens", "extra_special_tokens"):
        inner = config.values.get(name)
        further |= inner if isinstance(inner, dict) else {}
    tokens = Fields(further, config.source)
    for name, value in further.items():
        if name.removesuffix("_token") not in ROLES and isinstance(value, str | dict) and value:
            yield name, _named(tokens, name)


def _named(config: Fields, name: str) -> AddedToken:
    value = config.values[name]
    if not isinstance(value, str | dict) or not value:
        raise config.wrong(name, "a token")
    return added_token_of(value, f"{config.source}: {name}") | {"special": True}


def _extra_tokens(config: Fields, merged: Fields) -> list[AddedToken]:
    """Read the special tokens without a role from the first list that is not empty.

    Raises:
        UserError: a later list has further tokens, which `transformers` would ignore.
    """
    lists = []
    for fields, name in (
        (config, "extra_special_tokens"),
        (config, "additional_special_tokens"),
        (merged, "extra_special_tokens"),
        (merged, "additional_special_tokens"),
    ):
        if not isinstance(fields.values.get(name), dict):  # a dict has roles
            items = fields.items(name, [])
            source = f"{fields.source}: {name}"
            lists.append((source, [added_token_of(item, source) for item in items]))
    lists = [(source, tokens) for source, tokens in lists if tokens]
    for source, tokens in lists[1:]:
        known = {token["content"] for token in lists[0][1]}
        for token in tokens:
            if token["content"] not in known:
                raise UserError(f"{source} names {token['content']!r}, and {lists[0][0]} does not")
    return lists[0][1] if lists else []


def _added_file(path: Path, special: set[str]) -> Iterator[tuple[AddedToken, int]]:
    added = _fields(path)
    for content in added.values if added else ():
        assert added is not None
        is_special = content in special
        token = {"content": content, "special": is_special, "normalized": not is_special}
        yield added_token_of(token, path), added.whole(content)


def _id_of(item: Any, definition: Fields) -> int:
    return Fields(item, f"{definition.source}: added_tokens").whole("id")


def assign_ids(
    tokens: Iterable[tuple[AddedToken, int | None]],
    vocabulary: dict[str, int],
    source: object,
) -> list[dict[str, Any]]:
    """Assign an id to each token: its id in the vocabulary, or the next free one after it.

    Raises:
        UserError: a file states another id for the token.
    """
    assigned: dict[str, dict[str, Any]] = {}
    size, last = len(vocabulary), -1
    for token, expected in tokens:
        content = token["content"]
        if not content:
            continue
        known = assigned[content]["id"] if content in assigned else vocabulary.get(content)
        id = max(size, last + 1) if known is None else known
        if expected is not None and id != expected:
            raise UserError(
                f"{source}: {content!r} should have id {expected}, but the next free id is "
                f"{id}: ids after the vocabulary must be consecutive"
            )
        last = max(last, id)
        assigned[content] = {"id": id, **with_default_flags(token)}
    if last >= size and max(vocabulary.values(), default=-1) >= size:
        raise UserError(
            f"{source}: the ids of the vocabulary have gaps, so tokens cannot be added after it"
        )
    return sorted(assigned.values(), key=lambda token: int(token["id"]))
