"""Tokenizer folders by what is unusual about each."""

from collections.abc import Callable

from tests.tokenizer.folders import (
    BERT,
    MODERN,
    MPNET,
    NAMED,
    ROBERTA,
    Files,
    S,
    behind,
    bert,
    camembert,
    changed,
    id_of,
    merged,
    renamed,
    roberta_of_files,
    saved,
    size,
    spaces,
    table,
    token,
    untyped,
    vocab_txt,
)

STRIP = {"type": "Strip", "strip_left": False, "strip_right": True}
SPACES = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
NFKD = {"type": "NFKD"}
BY_SPACE = {"type": "WhitespaceSplit"}
OLD_METASPACE = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True, "str_rep": "▁"}
UNCHANGED = {"tokenizer_class": "PreTrainedTokenizerFast"}
BERT_ENDS = {"sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}

FOLDERS: dict[str, Callable[[], Files]] = {
    # Tokens that a folder adds.
    "added_tokens.json": lambda: bert({}, added_tokens=behind("<e1>", "</e1>")),
    "added_tokens.json, no config": lambda: bert(added_tokens=behind("<e1>", "</e1>")),
    "added_tokens.json, in another order": lambda: bert(
        {}, added_tokens=dict(reversed(behind("<e1>", "</e1>", "<e2>").items()))
    ),
    "added_tokens.json, one of them special": lambda: bert(
        {"additional_special_tokens": ["<e1>"]}, added_tokens=behind("<e1>", "</e1>")
    ),
    "added_tokens.json, inside the vocabulary": lambda: bert(
        {}, added_tokens={"the": id_of("the")}
    ),
    "added_tokens.json with a role": lambda: {
        **bert({"mask_token": "<mask>"}, added_tokens=behind("<mask>")),
    },
    "added_tokens_decoder": lambda: bert(
        {"added_tokens_decoder": {str(size()): token("<e1>"), str(size() + 1): token("</e1>")}}
    ),
    "added_tokens_decoder, normalized": lambda: bert(
        {"added_tokens_decoder": {str(size()): token("<E1>", normalized=True, lstrip=True)}}
    ),
    "added_tokens_decoder, single words, stripped": lambda: bert(
        {
            "added_tokens_decoder": {
                str(size()): token("foo", single_word=True),
                str(size() + 1): token("<e1>", lstrip=True, rstrip=True),
            }
        }
    ),
    "added_tokens_decoder beside the files that it replaces": lambda: bert(
        {"added_tokens_decoder": {str(size()): token("<e1>", special=True)}},
        added_tokens=behind("</e1>"),
        special_tokens_map={"mask_token": "[SEP]", "additional_special_tokens": ["<e2>"]},
    ),
    "added_tokens_decoder, an odd word of the vocabulary": lambda: bert(
        {"added_tokens_decoder": {str(id_of("##a")): token("##a")}}
    ),
    "additional_special_tokens": lambda: bert({"additional_special_tokens": ["<e1>", "</e1>"]}),
    "extra_special_tokens, a list": lambda: bert({"extra_special_tokens": ["<e1>", "the"]}),
    "extra_special_tokens, with names": lambda: bert(
        {"extra_special_tokens": {"begin_token": "<e1>", "end_token": "</e1>"}}
    ),
    "a token of a name of its own": lambda: bert({"entity_token": "<e1>", "bos_token": "<e2>"}),
    "additional_special_tokens of the map": lambda: bert(
        special_tokens_map={"additional_special_tokens": ["<e1>", "</e1>"]}
    ),
    "the map and added tokens": lambda: bert(
        {},
        special_tokens_map={"additional_special_tokens": ["<e1>"]},
        added_tokens=behind("<e1>", "<e2>"),
    ),
    "tokenizer.json and additional_special_tokens": lambda: changed(
        "bert, uncased", {"additional_special_tokens": ["<e1>", "the"]}
    ),
    "tokenizer.json and added_tokens.json": lambda: (
        saved("bert, uncased") | {"added_tokens.json": behind("<e1>", "</e1>")}
    ),
    "tokenizer.json and added_tokens_decoder": lambda: changed(
        "bert, cased", {"added_tokens_decoder": {str(size()): token("<e1>", special=True)}}
    ),
    "tokenizer.json that adds tokens": lambda: changed(
        "bert, uncased",
        definition={"added_tokens": [{"id": size(), **token("<e1>", normalized=True)}]},
    ),
    "roberta, additional_special_tokens": lambda: changed(
        "roberta", {"additional_special_tokens": ["<e1>", "</e1>"]}
    ),
    "roberta, added_tokens_decoder": lambda: changed(
        "roberta",
        {"added_tokens_decoder": {"400": token("<e1>", lstrip=True), "401": token("</e1>")}},
    ),
    "modernbert, additional_special_tokens": lambda: changed(
        "modernbert", {"additional_special_tokens": ["<e1>", "</e1>"]}
    ),
    "modernbert, added_tokens_decoder": lambda: changed(
        "modernbert", {"added_tokens_decoder": {"403": token("<e1>", special=True)}}
    ),
    "xlm-roberta, added_tokens.json": lambda: (
        saved("xlm-roberta")
        | {
            "added_tokens.json": {
                "<e1>": len(saved("xlm-roberta")["tokenizer.json"]["model"]["vocab"])
            }
        }
    ),
    "albert, extra_special_tokens": lambda: changed("albert", {"extra_special_tokens": ["<e1>"]}),
    # Special tokens by role.
    "roles of the map": lambda: {
        **bert(special_tokens_map=NAMED),
        "vocab.txt": vocab_txt(S),
    },
    "roles of the map, as objects": lambda: {
        **bert(special_tokens_map={n: token(c) for n, c in NAMED.items()}),
        "vocab.txt": vocab_txt(S),
    },
    "roles of the config": lambda: {**bert(NAMED), "vocab.txt": vocab_txt(S)},
    "roles of the config, as objects": lambda: {
        **bert({n: {"__type": "AddedToken", **token(c)} for n, c in NAMED.items()}),
        "vocab.txt": vocab_txt(S),
    },
    "the map before the config": lambda: {
        **bert({"cls_token": "<s>", "sep_token": "<s>"}, special_tokens_map=NAMED),
        "vocab.txt": vocab_txt(S),
    },
    "an unknown token of its own": lambda: {
        **bert({"unk_token": "<unk>"}),
        "vocab.txt": vocab_txt({"[UNK]": "<unk>"}),
    },
    "a mask that takes the space before it": lambda: bert(
        special_tokens_map={"mask_token": token("[MASK]", lstrip=True)}
    ),
    "a BERT-shaped tokenizer.json with <s> and </s>": lambda: {
        "tokenizer.json": renamed(saved("bert, uncased")["tokenizer.json"]),
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", **NAMED},
    },
    "the same, and its class is BERT's": lambda: {
        "tokenizer.json": renamed(saved("bert, uncased")["tokenizer.json"]),
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", **NAMED},
    },
    "a template of other ids": lambda: {
        "tokenizer.json": merged(
            saved("bert, uncased")["tokenizer.json"],
            {"post_processor": {"special_tokens": {"[CLS]": {"ids": [7]}}}},
        ),
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"},
    },
    "a tokenizer.json with an unknown token of its own": lambda: {
        "tokenizer.json": merged(
            saved("bert, uncased")["tokenizer.json"], {"model": {"unk_token": "[MASK]"}}
        ),
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"},
    },
    # The class that reads a vocabulary.
    "mpnet of vocab.txt": lambda: {"vocab.txt": vocab_txt(S), "config.json": MPNET},
    "mpnet by its tokenizer_class": lambda: {
        "vocab.txt": vocab_txt(S),
        "tokenizer_config.json": {"tokenizer_class": "MPNetTokenizer", "do_lower_case": False},
    },
    "mpnet by the model's tokenizer_class": lambda: {
        "vocab.txt": vocab_txt(S),
        "config.json": {"model_type": "mpnet", "tokenizer_class": "MPNetTokenizerFast"},
    },
    "mpnet with added tokens": lambda: {
        "vocab.txt": vocab_txt(S),
        "config.json": MPNET,
        "added_tokens.json": behind("<e1>", "</e1>"),
    },
    "mpnet with BERT's tokenizer": lambda: {
        "vocab.txt": vocab_txt(),
        "config.json": MPNET,
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer"},
    },
    "roberta with BERT's tokenizer": lambda: {
        "vocab.txt": vocab_txt(),
        "config.json": ROBERTA,
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizerFast"},
    },
    "distilbert of vocab.txt": lambda: bert() | {"config.json": {"model_type": "distilbert"}},
    "electra of vocab.txt": lambda: bert() | {"config.json": {"model_type": "electra"}},
    "roberta of vocab.json and merges.txt": roberta_of_files,
    "roberta of files, with settings": lambda: roberta_of_files(
        {"add_prefix_space": True, "additional_special_tokens": ["<e1>"]}
    ),
    # tokenizer_config.json against tokenizer.json.
    "cased by the config": lambda: changed("bert, uncased", {"do_lower_case": False}),
    "uncased by the config": lambda: changed("bert, cased", {"do_lower_case": True}),
    "accents kept by the config": lambda: changed("bert, uncased", {"strip_accents": False}),
    "accents stripped by the config": lambda: changed("bert, cased", {"strip_accents": True}),
    "Chinese in words by the config": lambda: changed(
        "bert, uncased", {"tokenize_chinese_chars": False}
    ),
    "the config is silent": lambda: {
        "tokenizer.json": saved("bert, cased")["tokenizer.json"],
        "config.json": BERT,
    },
    "the file as it stands": lambda: changed(
        "bert, cased", {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": True}
    ),
    "a model_type of its own reader": lambda: (
        changed("bert, cased", {"do_lower_case": True}) | {"config.json": MODERN}
    ),
    "mpnet, cased by the config": lambda: changed("mpnet", {"do_lower_case": False}),
    "distilbert, cased by the config": lambda: changed("distilbert", {"do_lower_case": False}),
    "electra, accents kept": lambda: changed("electra", {"strip_accents": False}),
    "albert, cased, accents kept": lambda: changed(
        "albert", {"do_lower_case": False, "keep_accents": True}
    ),
    "albert, no space before": lambda: changed("albert", {"add_prefix_space": False}),
    "xlm-roberta, no space before": lambda: changed("xlm-roberta", {"add_prefix_space": False}),
    "camembert, as its files are on the hub": camembert,
    "camembert, all named": lambda: camembert(
        {"tokenizer_class": "CamembertTokenizer", "additional_special_tokens": ["<s>NOTUSED"]}
    ),
    "camembert, none without a role": lambda: camembert({"additional_special_tokens": []}),
    "camembert, no space before": lambda: camembert({"add_prefix_space": False}),
    "roberta, a space before": lambda: changed("roberta", {"add_prefix_space": True}),
    "roberta, a space before in the file alone": lambda: changed(
        "roberta", {"add_prefix_space": False}, spaces(1)
    ),
    "modernbert, the config's space is not read": lambda: changed(
        "modernbert", {"add_prefix_space": True}
    ),
    "modernbert, a space before in the file": lambda: changed("modernbert", {}, spaces(1)),
    # As other releases of `transformers` and `tokenizers` write the same.
    "xlm-roberta with a table of characters": lambda: changed(
        "xlm-roberta", {}, {"normalizer": table()}
    ),
    "xlm-roberta, written with other steps": lambda: changed(
        "xlm-roberta",
        {},
        {
            "normalizer": {"type": "Sequence", "normalizers": [table(), STRIP, SPACES]},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [BY_SPACE, OLD_METASPACE]},
        },
    ),
    "albert with a table of characters": lambda: changed(
        "albert", {}, {"normalizer": {"type": "Sequence", "normalizers": [NFKD, table(), SPACES]}}
    ),
    "bert's decoder, unchanged": lambda: changed("bert, uncased", UNCHANGED),
    "a decoder that keeps the spaces": lambda: changed(
        "bert, uncased", UNCHANGED, {"decoder": {"cleanup": False}}
    ),
    "no decoder": lambda: changed("bert, uncased", UNCHANGED, {"decoder": None}),
    "bert with another decoder, which is rebuilt": lambda: changed(
        "bert, uncased", {}, {"decoder": {"cleanup": False}}
    ),
    "distilbert without the model's type": lambda: untyped(saved("distilbert")),
    "roberta without a template": lambda: changed(
        "roberta", {}, {"post_processor": {"type": "ByteLevel"}}
    ),
    "roberta without an unknown token": lambda: changed(
        "roberta", {}, {"model": {"unk_token": "<unk>", "continuing_subword_prefix": None}}
    ),
    "bert, a template with types of its own": lambda: changed(
        "bert, cased", {}, {"post_processor": {"type": "BertProcessing", **BERT_ENDS}}
    ),
    "roberta, spaces stay in the source": lambda: changed("roberta", {"trim_offsets": False}),
    # Other fields.
    "cut on the left": lambda: changed("bert, uncased", {"truncation_side": "left"}),
    "cut on the left by tokenizer.json": lambda: changed(
        "bert, uncased",
        definition={
            "truncation": {
                "direction": "Left",
                "max_length": 9,
                "strategy": "LongestFirst",
                "stride": 0,
            }
        },
    ),
    "roberta, cut on the left": lambda: changed("roberta", {"truncation_side": "left"}),
    "padded on the left": lambda: changed("bert, uncased", {"padding_side": "left"}),
    "padded on the left by tokenizer.json": lambda: changed(
        "modernbert",
        definition={
            "padding": {
                "strategy": "BatchLongest",
                "direction": "Left",
                "pad_to_multiple_of": None,
                "pad_id": 3,
                "pad_type_id": 0,
                "pad_token": "[PAD]",
            }
        },
    ),
    "model_max_length": lambda: changed("bert, uncased", {"model_max_length": 7}),
    "no model_max_length": lambda: changed("bert, uncased", {"model_max_length": 10**30}),
    "max_len, as it was called": lambda: bert({"max_len": 8}),
    "spaces cleaned up": lambda: changed("bert, cased", {"clean_up_tokenization_spaces": True}),
    "spaces cleaned up in vain": lambda: changed("roberta", {"clean_up_tokenization_spaces": True}),
    "spaces cleaned up in unigram": lambda: changed(
        "albert", {"clean_up_tokenization_spaces": True}
    ),
    "special tokens split": lambda: changed("bert, uncased", {"split_special_tokens": True}),
    "special tokens split, roberta": lambda: changed("roberta", {"split_special_tokens": True}),
}
