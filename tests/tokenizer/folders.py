"""Folders of tokenizers, made of files: as `transformers` saves them, and as people have them."""

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from plainformer.tokenizer import train_tokenizer
from tests.tokenizer.test_families import FAMILIES, TEXTS, byte_level, wordpiece_vocabulary

Files = dict[str, Any]


@cache
def _saved(family: str) -> str:
    """The files of a family as `transformers` saves them, as JSON."""
    with tempfile.TemporaryDirectory() as name:
        FAMILIES[family]().save_pretrained(name)
        paths = sorted(Path(name).glob("*.json"))
        return json.dumps({path.name: json.loads(path.read_text()) for path in paths})


def saved(family: str) -> Files:
    files: Files = json.loads(_saved(family))
    return files


def vocab_txt(renamed: dict[str, str] | None = None) -> str:
    names = renamed or {}
    return "".join(f"{names.get(token, token)}\n" for token in wordpiece_vocabulary())


S = {"[CLS]": "<s>", "[SEP]": "</s>", "[PAD]": "<pad>", "[MASK]": "<mask>"}
NAMED = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "mask_token": "<mask>"}
BERT, MPNET = {"model_type": "bert"}, {"model_type": "mpnet"}
ROBERTA, MODERN = {"model_type": "roberta"}, {"model_type": "modernbert"}


def bert(config: Files | None = None, **files: Any) -> Files:
    """A BERT of `vocab.txt`, with other files: `added_tokens={…}` is `added_tokens.json`."""
    made: Files = {"vocab.txt": vocab_txt(), "config.json": BERT}
    made |= {f"{name}.json": content for name, content in files.items()}
    return made | ({"tokenizer_config.json": config} if config is not None else {})


def changed(family: str, config: Files | None = None, definition: Files | None = None) -> Files:
    """A family as saved, with fields of its config and of its `tokenizer.json` replaced."""
    files = saved(family)
    files["tokenizer_config.json"] |= config or {}
    files["tokenizer.json"] = merged(files["tokenizer.json"], definition or {})
    return files


def merged(one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        return one | {name: merged(one.get(name), value) for name, value in other.items()}
    return other


def token(content: str, **flags: bool) -> Files:
    usual = dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized", "special"), False)
    return {"content": content, **usual, **flags}


def without(files: Files, *names: str) -> Files:
    return {name: content for name, content in files.items() if name not in names}


def size() -> int:
    return len(wordpiece_vocabulary())


def behind(*tokens: str) -> dict[str, int]:
    return {content: size() + number for number, content in enumerate(tokens)}


def id_of(content: str) -> int:
    return wordpiece_vocabulary()[content]


def roberta_of_files(config: Files | None = None, **files: Any) -> Files:
    model = byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    merges = "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in model["merges"])
    made = {"vocab.json": model["vocab"], "merges.txt": merges, "config.json": ROBERTA}
    made |= {f"{name}.json": content for name, content in files.items()}
    return made | ({"tokenizer_config.json": config} if config is not None else {})


def camembert(config: Files | None = None) -> Files:
    """Its vocabulary begins with names that fairseq left unused, and its config is silent."""
    definition = saved("xlm-roberta")["tokenizer.json"]
    pieces = [piece for piece in definition["model"]["vocab"] if piece[0][0] != "<"]
    first = ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>"]
    vocab = [*([content, 0.0] for content in first), *pieces, ["<mask>", 0.0]]
    special = [(0, first[0]), (2, first[2]), (5, "<s>"), (6, "</s>"), (len(vocab) - 1, "<mask>")]
    return {
        "tokenizer.json": definition
        | {
            "model": definition["model"] | {"vocab": vocab},
            "added_tokens": [{"id": id, **token(text, special=True)} for id, text in special],
            "post_processor": {
                "type": "RobertaProcessing",
                "sep": ["</s>", 6],
                "cls": ["<s>", 5],
                "trim_offsets": True,
                "add_prefix_space": True,
            },
        },
        "tokenizer_config.json": {"model_max_length": 512, **(config or {})},
        "config.json": {"model_type": "camembert"},
    }


def spaces(count: int) -> Files:
    return {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": bool(count)}}


def renamed(definition: Files) -> Files:
    text = json.dumps(definition)
    for old, new in S.items():
        text = text.replace(f'"{old}"', f'"{new}"')
    made: Files = json.loads(text)
    return made


def write(files: Files, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def untyped(files: Files) -> Files:
    """Without the kind of its model, as the first releases wrote it."""
    del files["tokenizer.json"]["model"]["type"]
    return files


def table() -> Files:
    """The normalisation of a SentencePiece model."""
    steps: list[Files] = train_tokenizer(TEXTS, kind="unigram", vocab_size=420).definition()[
        "normalizer"
    ]["normalizers"]
    return steps[0]
