"""What a folder may say of its tokenizer: each is read as `AutoTokenizer` reads it.

A folder is a set of files (`folders.FOLDERS`); ids, type ids, offsets, pairs, truncation, words,
special ids and decoding are compared, and once more after the tokenizer was saved, on both sides.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from plainformer.base import UserError
from plainformer.tokenizer import Tokenizer, extend, load_tokenizer, train_tokenizer
from tests.tokenizer.conftest import sentences
from tests.tokenizer.folder_cases import FOLDERS
from tests.tokenizer.folders import Files, changed, merged, saved, write
from tests.tokenizer.test_families import NO_LIMIT, assert_same

transformers = pytest.importorskip("transformers")
TEXTS = [
    "the <e1> boy </e1>walked",
    "The <E1>Café</E1> naïve ÉCOLE 我们在中国 <e2>",
    "  [MASK] the<mask> reader's end . (or) \"not\" ? don ' t",
    "<s> encoder </s> [CLS] [SEP] [unused] WALKED [UNK] <pad> [PAD] FOO foobar",
    "",
    " ",
    *sentences(6)[:4],
    "the <unk>NOTUSED boy <s>NOTUSED",
]


HARMLESS = {
    "do_basic_tokenize": True,
    "never_split": ["the"],
    "add_bos_token": True,
    "add_eos_token": True,
    "pad_token_type_id": 0,
    "errors": "replace",
    "legacy": True,
    "use_fast": False,
    "sp_model_kwargs": {},
    "remove_space": True,
    "chat_template": "{{ messages }}",
    "processor_class": "X",
    "name_or_path": "x",
    "tokenizer_file": "x.json",
    "special_tokens_map_file": "x.json",
    "max_length": 3,
    "stride": 1,
    "truncation_strategy": "longest_first",
    "pad_to_multiple_of": 8,
    "verbose": False,
    "backend": "tokenizers",
    "is_local": True,
    "a_field_of_one's_own": {"x": [1]},
}
"""fields that have no effect on ids, offsets or text: there, and here"""


def assert_equal(ours: Tokenizer, theirs: Any) -> None:
    assert ours.vocab_size == len(theirs)
    assert [ours.token(id) for id in range(ours.vocab_size)] == theirs.convert_ids_to_tokens(
        list(range(len(theirs)))
    )
    for role in ("pad", "unk", "cls", "sep", "mask"):
        if getattr(theirs, f"{role}_token") is not None:
            assert getattr(ours, f"{role}_id") == getattr(theirs, f"{role}_token_id")
    limit = theirs.model_max_length
    assert ours.max_length == (limit if limit < NO_LIMIT else None)
    assert ours.truncation_side == theirs.truncation_side
    assert ours.padding_side == theirs.padding_side
    for text, pair in zip(TEXTS, [*TEXTS[1:], "its pair"], strict=True):
        assert_same(ours, theirs, text, None)
        assert_same(ours, theirs, text, pair)
        for length in (7, 12):
            cut = theirs([text], [pair], truncation="longest_first", max_length=length)
            assert ours.encode(text, pair, max_length=length).ids == cut["input_ids"][0]
        ids = theirs([text])["input_ids"][0]
        for skip in (True, False):
            assert ours.decode(ids, skip_special_tokens=skip) == theirs.decode(
                ids, skip_special_tokens=skip
            )
    words = ["the", "<e1>", "house", "foo", "中国", "Café", "walked"]
    assert (
        ours.template.encode(ours.word_tokens(words), None).ids
        == (theirs(words, is_split_into_words=True)["input_ids"])
    )
    if theirs.pad_token is not None:
        batch = ours.batch([(TEXTS[0], TEXTS[6]), (TEXTS[6], TEXTS[0])], max_length=40)
        other = theirs(TEXTS[0:7:6], TEXTS[6::-6], padding=True, truncation=True, max_length=40)
        for name in ("input_ids", "attention_mask"):
            assert batch[name].tolist() == other[name]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_is_read_as_it_is_there(name: str, tmp_path: Path) -> None:
    folder = write(FOLDERS[name](), tmp_path / "folder")
    ours = load_tokenizer(folder)
    assert_equal(ours, transformers.AutoTokenizer.from_pretrained(folder))
    ours.save(tmp_path / "saved")
    again = load_tokenizer(tmp_path / "saved")
    assert again.fingerprint() == ours.fingerprint()
    assert_equal(again, transformers.AutoTokenizer.from_pretrained(tmp_path / "saved"))
    assert [again.encode(text) for text in TEXTS] == [ours.encode(text) for text in TEXTS]


@pytest.mark.parametrize("family", ["bert, cased", "mpnet", "roberta", "modernbert", "albert"])
def test_fields_without_effect(family: str, tmp_path: Path) -> None:
    files = changed(family, HARMLESS)
    if family == "modernbert":  # its class builds its template from these two, where it has none
        files["tokenizer_config.json"] |= {"add_bos_token": False, "add_eos_token": False}
    folder = write(files, tmp_path)
    ours = load_tokenizer(folder)
    assert_equal(ours, transformers.AutoTokenizer.from_pretrained(folder))
    write(saved(family), tmp_path)
    assert ours.fingerprint() == load_tokenizer(tmp_path).fingerprint()


@pytest.fixture(scope="module")
def unigram_folder(tmp_path_factory: Any) -> Path:
    folder: Path = tmp_path_factory.mktemp("unigram")
    train_tokenizer(sentences(), kind="unigram", vocab_size=420).save(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("added_tokens.json", {"<e1>": 420}, None),  # not read beside added_tokens_decoder
        ("tokenizer_config.json", {"truncation_side": "left", "model_max_length": 9}, None),
        ("tokenizer_config.json", {"cls_token": "[SEP]"}, "gives its special tokens other roles"),
        ("tokenizer_config.json", {"additional_special_tokens": ["<e1>"]}, "add tokens to it"),
        ("tokenizer.json", {"model": {"vocab": [["[PAD]", 0.0]]}}, "has another vocabulary"),
    ],
)
def test_a_model_of_ours_and_what_else_the_folder_says(
    name: str, change: Files, match: str | None, unigram_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(unigram_folder, tmp_path, dirs_exist_ok=True)
    former = json.loads((tmp_path / name).read_text()) if (tmp_path / name).exists() else {}
    write({name: merged(former, change)}, tmp_path)
    if match is not None:
        with pytest.raises(UserError, match=match):
            load_tokenizer(tmp_path)
        return
    ours = load_tokenizer(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert ours.truncation_side == theirs.truncation_side
    for text, pair in zip(TEXTS[5:], TEXTS[4:], strict=False):
        cut = theirs([text], [pair], truncation=True, max_length=9)["input_ids"][0]
        assert ours.encode(text, pair, max_length=9).ids == cut


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("added_tokens.json", "stomata"),
        ("additional_special_tokens", "stomata"),
        ("mpnet with added tokens", "stomata"),
        ("roberta, additional_special_tokens", "Ġstomata"),
        ("modernbert, added_tokens_decoder", "Ġstomata"),
        ("cut on the left", "stomata"),
        ("spaces cleaned up", "stomata"),
    ],
)
def test_new_words_stand_behind_the_tokens_that_a_folder_adds(
    name: str, word: str, tmp_path: Path
) -> None:
    old = load_tokenizer(write(FOLDERS[name](), tmp_path / "old"))
    extend(old, [word]).save(tmp_path / "new")
    new = load_tokenizer(tmp_path / "new")
    assert new.id(word) == old.vocab_size
    assert_equal(new, transformers.AutoTokenizer.from_pretrained(tmp_path / "new"))
    assert list(new.words("the stomata")[-1]) == [new.id(word)]
    assert (new.truncation_side, new.clean_up_spaces) == (old.truncation_side, old.clean_up_spaces)
