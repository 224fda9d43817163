"""Folders that say many things at once, drawn at random: read as `AutoTokenizer` reads them."""

import random
from pathlib import Path
from typing import Any

import pytest

from plainformer.base import UserError
from plainformer.tokenizer import load_tokenizer
from tests.tokenizer import folders
from tests.tokenizer.folders import Files, saved, token, write
from tests.tokenizer.test_folders import assert_equal

transformers = pytest.importorskip("transformers")

WORDS = [
    "<e1>",
    "</e1>",
    "<E2>",
    "the",
    "foo",
    "##a",
    "Café",
    "<mask>",
    "[MASK]",
    "<s>",
    " x",
    "中",
]
ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
NAMES = ["[CLS]", "[SEP]", "<s>", "</s>", "[PAD]", "<pad>", "[UNK]", "<unk>", "[MASK]", "the"]
SWITCHES = ("do_lower_case", "tokenize_chinese_chars", "strip_accents", "add_prefix_space")
SWITCHES += ("keep_accents", "clean_up_tokenization_spaces", "split_special_tokens", "trim_offsets")
FLAGS = ("lstrip", "rstrip", "single_word", "normalized", "special")
FAMILIES = ["bert", "bert, uncased", "bert, cased", "distilbert", "mpnet", "mpnet of vocab.txt"]
FAMILIES += ["roberta", "roberta of files", "modernbert", "albert", "xlm-roberta"]


def drawn_folder(chance: random.Random) -> Files:
    """A family's files, and in them some of all that may stand there."""

    def now(share: float) -> bool:
        return chance.random() < share

    files = drawn_family(chance.choice(FAMILIES))
    config = files.setdefault("tokenizer_config.json", {})
    if now(0.3) and "config.json" in files:
        config.clear()
    config |= {name: now(0.5) for name in SWITCHES if now(0.15)}
    config |= {f"{role}_token": drawn_role(chance) for role in ROLES if now(0.06)}
    if now(0.2):
        config["additional_special_tokens"] = chance.choices(WORDS, k=2)
    if now(0.1):
        names: Files = {"a_token": chance.choice(WORDS)}
        config["extra_special_tokens"] = names if now(0.5) else chance.choices(WORDS, k=1)
    if now(0.2) and "tokenizer_class" in config:
        config["tokenizer_class"] = chance.choice(
            [config["tokenizer_class"] + "Fast", "PreTrainedTokenizerFast", "BertTokenizer"]
        )
    if now(0.25):
        config["added_tokens_decoder"] = {
            str(id): made for id, made in drawn_tokens(files, chance).items()
        }
    if now(0.2):
        tokens = drawn_tokens(files, chance)
        files["added_tokens.json"] = {made["content"]: id for id, made in tokens.items()}
    if now(0.2):
        roles = {f"{role}_token": drawn_role(chance) for role in ROLES if now(0.15)}
        for made in roles.values():
            if isinstance(made, dict):
                made.pop("__type")
        files["special_tokens_map.json"] = roles
        if now(0.5):
            roles["additional_special_tokens"] = chance.choices(WORDS, k=1)
    return files


def drawn_family(family: str) -> Files:
    match family:
        case "bert":
            return folders.bert()
        case "mpnet of vocab.txt":
            return {"vocab.txt": folders.vocab_txt(folders.S), "config.json": folders.MPNET}
        case "roberta of files":
            return folders.roberta_of_files()
    return saved(family) | {"config.json": {"model_type": family.partition(",")[0]}}


def drawn_role(chance: random.Random) -> Any:
    name = chance.choice(NAMES)
    made = {"__type": "AddedToken", **token(name, lstrip=chance.random() < 0.3)}
    return name if chance.random() < 0.5 else made


def drawn_tokens(files: Files, chance: random.Random) -> dict[int, Files]:
    """Some tokens, by the ids that they have or get."""
    behind = 0
    if "tokenizer.json" in files:
        vocab = files["tokenizer.json"]["model"]["vocab"]
        vocab = (
            vocab if isinstance(vocab, dict) else {piece: id for id, (piece, _) in enumerate(vocab)}
        )
        behind = max(item["id"] for item in files["tokenizer.json"]["added_tokens"]) + 1
    elif "vocab.json" in files:
        vocab = files["vocab.json"]
    else:
        vocab = {line: id for id, line in enumerate(files["vocab.txt"].splitlines())}
    behind = max(behind, len(vocab))
    tokens: dict[int, Files] = {}
    for word in dict.fromkeys(chance.choices(WORDS, k=2)):
        made = token(word, **{flag: chance.random() < 0.25 for flag in FLAGS})
        tokens[vocab.get(word, behind)] = made
        behind += word not in vocab
    return tokens


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 20))]
)
def test_folders_drawn_at_random(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    equal = 0
    for number in range(15):
        folder = write(drawn_folder(chance), tmp_path / str(number))
        try:
            ours = load_tokenizer(folder)
            theirs = transformers.AutoTokenizer.from_pretrained(folder)
        except (UserError, TypeError):  # theirs, on a template of what is no token
            continue
        assert_equal(ours, theirs)
        equal += 1
    assert equal > 9
