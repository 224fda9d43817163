"""What a tokenizer folder may say that is not obeyed here: refused by name, with the way out."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plainformer.base import UserError
from plainformer.tokenizer import load_tokenizer
from tests.tokenizer.folders import (
    BERT,
    Files,
    bert,
    changed,
    merged,
    renamed,
    roberta_of_files,
    saved,
    size,
    token,
    vocab_txt,
    write,
)


def of_class(name: str, **files: Any) -> Files:
    return {"tokenizer_config.json": {"tokenizer_class": name}, **files}


def of_model(name: str) -> Files:
    return {"config.json": {"model_type": name}, "vocab.txt": vocab_txt()}


TXT = {"vocab.txt": "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n"}
REFUSED: dict[str, tuple[Callable[[], Files], str]] = {
    # Code that is not built in.
    "Japanese, by character": (
        lambda: TXT | of_class("BertJapaneseTokenizer") | {"config.json": BERT},
        "BertJapaneseTokenizer splits words with MeCab",
    ),
    "Japanese, by the model's config": (
        lambda: TXT | {"config.json": BERT | {"tokenizer_class": "BertJapaneseTokenizer"}},
        "BertJapaneseTokenizer splits words",
    ),
    "Japanese, beside a tokenizer.json": (
        lambda: changed("bert, cased", {"tokenizer_class": "BertJapaneseTokenizer"}),
        "BertJapaneseTokenizer splits words",
    ),
    "tweets": (lambda: TXT | of_class("BertweetTokenizer"), "normalises tweets"),
    "PhoBERT": (lambda: TXT | of_class("PhobertTokenizer"), "VnCoreNLP"),
    "code of the folder": (
        lambda: changed(
            "bert, cased",
            {
                "tokenizer_class": "MyTokenizer",
                "auto_map": {"AutoTokenizer": ["x.MyTokenizer", None]},
            },
        ),
        r"MyTokenizer is custom code \(auto_map\)",
    ),
    # A class that makes steps of its own of the vocabulary.
    **{
        f"{name} beside a tokenizer.json": (
            lambda name=name, family=family: changed(family, {"tokenizer_class": name}),  # type: ignore[misc]
            f"tokenizer_class {name.removesuffix('Fast')} is not supported: to use",
        )
        for name, family in (
            ("HerbertTokenizerFast", "roberta"),
            ("GPT2Tokenizer", "roberta"),
            ("FunnelTokenizer", "bert, cased"),
            ("DPRReaderTokenizer", "bert, cased"),
            ("RemBertTokenizer", "albert"),
            ("DebertaV2Tokenizer", "xlm-roberta"),
            ("T5TokenizerFast", "xlm-roberta"),
            ("MyTokenizer", "mpnet"),
        )
    },
    "files of other versions": (
        lambda: changed("roberta", {"fast_tokenizer_files": ["tokenizer.4.0.0.json"]}),
        "fast_tokenizer_files names other files",
    ),
    # A vocabulary of which nobody says how it is read.
    "a class that is unknown": (
        lambda: TXT | of_class("MyTokenizer"),
        "tokenizer_class MyTokenizer does not define how to read vocab.txt",
    ),
    "a class without its file": (
        lambda: TXT | of_class("PreTrainedTokenizerFast"),
        "tokenizer_class PreTrainedTokenizer does not define how to read vocab.txt",
    ),
    "a model that is unknown": (
        lambda: of_model("esm"),
        "model_type esm does not define how to read",
    ),
    "modernbert of vocab.txt": (lambda: of_model("modernbert"), "model_type modernbert does not"),
    "roberta of vocab.txt": (lambda: of_model("roberta"), "vocab.txt, but no tokenizer.json"),
    "xlm-roberta of vocab.txt": (lambda: of_model("xlm-roberta"), "vocab.txt, but no tokenizer"),
    "albert of vocab.txt": (lambda: of_model("albert"), "vocab.txt, but no tokenizer.json"),
    # What a tokenizer.json says and its class would drop.
    **{
        f"{family}, {what}": (lambda f=family, d=definition: changed(f, {}, d), match)  # type: ignore[misc]
        for family, what, definition, match in [
            ("bert, cased", "NFC", {"normalizer": {"type": "NFC"}}, "normalizer NFC, which Bert"),
            ("bert, cased", "uncleaned", {"normalizer": {"clean_text": False}}, "clean_text False"),
            ("bert, cased", "no normaliser's kind", {"normalizer": {"type": 1}}, "must be a text"),
            ("mpnet", "cut", {"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer Whitespace"),
            ("bert, cased", "prefix", {"model": {"continuing_subword_prefix": "@@"}}, "'@@'"),
            ("mpnet", "long words", {"model": {"max_input_chars_per_word": 50}}, "word 50, which"),
            ("bert, cased", "model", {"model": {"type": "WordLevel"}}, "a WordLevel model"),
            ("roberta", "NFC", {"normalizer": {"type": "NFC"}}, "NFC, which RobertaTokenizer"),
            ("roberta", "merges", {"model": {"ignore_merges": True}}, "ignore_merges True"),
            ("roberta", "regex", {"pre_tokenizer": {"use_regex": False}}, "use_regex False"),
            ("xlm-roberta", "NFKC", {"normalizer": {"type": "NFKC"}}, "NFKC, which XLMRoberta"),
            ("xlm-roberta", "unknown", {"model": {"unk_id": 0}}, "unk_id 0"),
            ("albert", "bytes", {"model": {"byte_fallback": True}}, "byte_fallback True"),
        ]
    },
    "a template that BERT's class would drop": (
        lambda: changed(
            "bert, cased",
            {},
            {"post_processor": {"single": [{"Sequence": {"id": "A", "type_id": 0}}]}},
        ),
        "another post_processor, which BertTokenizer ignores: to use the file as it is, write",
    ),
    "special tokens that BERT's class would not find": (
        lambda: {
            "tokenizer.json": renamed(saved("bert, uncased")["tokenizer.json"]),
            "config.json": BERT,
        },
        r"no token '\[SEP\]', the sep token of BertTokenizer",
    ),
    "an unknown token that BERT's class would drop": (
        lambda: {
            "tokenizer.json": merged(
                saved("bert, cased")["tokenizer.json"], {"model": {"unk_token": "[MASK]"}}
            ),
            "config.json": BERT,
        },
        r"unk_token '\[MASK\]', which BertTokenizer ignores",
    ),
    "an unknown token behind the vocabulary": (
        lambda: bert({"unk_token": "<unk>"}),
        "the unknown token, '<unk>', is not in the vocabulary",
    ),
    "two lists of special tokens": (
        lambda: bert({"extra_special_tokens": ["<e1>"], "additional_special_tokens": ["<e2>"]}),
        "additional_special_tokens names '<e2>', and .*extra_special_tokens does not",
    ),
    "two files of special tokens": (
        lambda: bert(
            {"additional_special_tokens": ["<e1>"]},
            special_tokens_map={"additional_special_tokens": ["<e1>", "<e2>"]},
        ),
        "special_tokens_map.json: additional_special_tokens names '<e2>', and .*config.json: addit",
    ),
    # Ids that cannot be.
    "added tokens behind a gap": (
        lambda: bert({}, added_tokens={"<e1>": size() + 3}),
        "'<e1>' should have id 303, but the next free id is 300",
    ),
    "added tokens in place of others": (
        lambda: bert({"added_tokens_decoder": {"7": token("<e1>")}}),
        "'<e1>' should have id 7, but the next free id is 300",
    ),
    "a tokenizer.json with such": (
        lambda: changed("roberta", {}, {"added_tokens": [{"id": 9, **token("<e1>")}]}),
        "'<e1>' should have id 9, but the next free id is 400",
    ),
    "no id": (
        lambda: bert({"added_tokens_decoder": {"-1": token("<e1>")}}),
        "added_tokens_decoder: '-1' is not an id",
    ),
    # Values of another kind.
    **{
        f"{name}: {value!r}": (lambda n=name, v=value: bert({n: v}), match)  # type: ignore[misc]
        for name, value, match in [
            ("tokenizer_class", 5, "tokenizer_class must be a text, not 5"),
            ("do_lower_case", "no", "do_lower_case must be true or false, not the text 'no'"),
            ("strip_accents", 1, "strip_accents must be true or false, not 1"),
            ("tokenize_chinese_chars", [], "tokenize_chinese_chars must be true or false"),
            ("split_special_tokens", "yes", "split_special_tokens must be true or false"),
            ("clean_up_tokenization_spaces", 1, "clean_up_tokenization_spaces must be true or"),
            ("model_max_length", "512", "model_max_length must be a finite number"),
            ("model_max_length", 0, "model_max_length must be a finite number, at least 1"),
            ("truncation_side", "middle", "truncation_side must be one of left, right"),
            ("padding_side", 1, "padding_side must be one of left, right"),
            ("cls_token", 101, "cls_token must be a token, not 101"),
            ("cls_token", "", "cls_token must be a token"),
            ("mask_token", {"lstrip": True}, "content is missing"),
            ("additional_special_tokens", "<e1>", "additional_special_tokens must be a list"),
            ("additional_special_tokens", [5], "a token: not a JSON object, but 5"),
            ("added_tokens_decoder", ["<e1>"], "added_tokens_decoder must be an object"),
        ]
    },
    "merges that are none": (
        lambda: roberta_of_files() | {"merges.txt": "#version: 0.2\na b\na b c\n"},
        "merges.txt, merge 2: not two pieces",
    ),
    "ids that are none": (
        lambda: roberta_of_files() | {"vocab.json": {"a": "0"}},
        "vocab must be an object of ids",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_obeyed_is_refused_by_name(name: str, tmp_path: Path) -> None:
    files, match = REFUSED[name]
    with pytest.raises(UserError, match=match):
        load_tokenizer(write(files(), tmp_path))


BROKEN = [None, [], {}, "x", "", -1, 0, 1e300, True, 2**40, [[1]], [None], {"type": "x"}, ["a", 1]]
MUTATED = ["bert, uncased", "mpnet", "roberta", "modernbert", "albert", "xlm-roberta, precompiled"]


@pytest.mark.parametrize("family", MUTATED)
def test_files_of_any_shape_are_read_or_refused(family: str, tmp_path: Path) -> None:
    """One value of a file is replaced by one of another kind, or taken out: no other error comes.

    What `tokenizers` answers with a panic is no `Exception` in Python.
    """
    chance = random.Random(family)
    for _ in range(25):
        files = saved(family)
        content = files[
            chance.choice(["tokenizer.json", "tokenizer.json", "tokenizer_config.json"])
        ]
        for _ in range(chance.randint(1, 5)):
            keys = list(content) if isinstance(content, dict) else list(range(len(content)))
            key = chance.choice(keys)
            if not isinstance(content[key], dict | list) or not content[key]:
                break
            parent, content = content, content[key]
            content = content if chance.random() < 0.8 else parent
        keys = list(content) if isinstance(content, dict) else list(range(len(content)))
        key = chance.choice(keys)
        if chance.random() < 0.2:
            del content[key]
        else:
            content[key] = chance.choice(BROKEN)
        try:
            tokenizer = load_tokenizer(write(files, tmp_path))
            tokenizer.encode("the naïve [MASK] <mask>", "its pair")
            tokenizer.decode([0, 1, 2])
            tokenizer.save(tmp_path / "saved")
        except UserError as error:
            assert len(str(error).splitlines()) == 1
