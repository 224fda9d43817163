"""What `config.json` says is read as `transformers` reads it, or refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from plainformer.encoder import Encoder, MaskedLM, SequenceClassifier, TokenClassifier, use_backend
from plainformer.encoder.weights import read_labels
from tests.encoder.families import FAMILY, inputs, pair, their_config
from tests.encoder.tools import assert_close, bert, edit_config, modern, refused

transformers = pytest.importorskip("transformers")
ROBERTAS = ["roberta", "xlm-roberta", "camembert", "mpnet"]


NAMES = {"0": "no", "1": "yes"}


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"num_labels": 3},
        {"num_labels": 1},
        {"num_labels": 12},
        {"id2label": NAMES},
        {"id2label": NAMES, "num_labels": 2},
        {"id2label": NAMES, "num_labels": 3},
        {"id2label": NAMES, "num_labels": 1},
        {"id2label": {"1": "yes", "0": "no"}},
        {"id2label": {str(i): f"l{i}" for i in reversed(range(12))}},
        {"id2label": {"00": "no", "1": "yes"}},
        {"id2label": {"0": 0, "1": 1}},
        {"id2label": {"0": 0.5, "1": -1}},
        {"id2label": None, "num_labels": 3},
        {"label2id": {"no": 0, "yes": 1, "maybe": 2}},
        {"label2id": {"no": 0, "yes": 1, "maybe": 2}, "num_labels": 3},
        {"id2label": NAMES, "label2id": {"yes": 0, "no": 1}},
        {"id2label": {"0": "", "1": "否"}},
    ],
    ids=lambda said: json.dumps(said)[:40],
)
def test_the_labels_are_those_of_transformers(said: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", **said}))
    theirs = transformers.AutoConfig.from_pretrained(tmp_path).id2label
    # A prediction is written down by its name: a number serves as one.
    assert read_labels(said) == [str(theirs[i]) for i in range(len(theirs))]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"id2label": {"0": "a", "1": "a"}}, "gives the name 'a' to 2 labels"),
        ({"id2label": {"0": "1", "1": 1}}, "gives the name '1' to 2 labels"),
        ({"id2label": {"0": "a", "2": "b"}}, "without a gap"),
        ({"id2label": {"1": "a", "2": "b"}}, "without a gap"),
        ({"id2label": {"0": "a", "00": "b"}}, "without a gap"),
        ({"id2label": {}}, "without a gap"),
        ({"id2label": {"first": "a"}}, "'first' is not a label number"),
        ({"id2label": {"-1": "a", "0": "b"}}, "'-1' is not a label number"),
        ({"id2label": {"0": "a", "²": "b"}}, "'²' is not a label number"),
        ({"id2label": {"9" * 5000: "b"}}, "is not a label number"),
        ({"id2label": {"0": None, "1": "b"}}, "id2label: 0 is missing"),
        ({"id2label": {"0": True, "1": "b"}}, "0 must be the name of a label, not true"),
        ({"id2label": {"0": ["a"], "1": "b"}}, "0 must be the name of a label, not a list"),
        ({"id2label": {"0": float("nan"), "1": "b"}}, "0 must be the name of a label"),
        ({"id2label": ["a", "b"]}, "id2label must be an object, not a list"),
        ({"id2label": "ab"}, "id2label must be an object"),
        ({"num_labels": "3"}, "num_labels must be a whole number"),
        ({"num_labels": 0}, "num_labels must be a whole number"),
        ({"num_labels": 2.5}, "num_labels must be a whole number"),
        ({"num_labels": 10**12}, "num_labels must be a whole number"),
        ({"problem_type": "single_label_classification", "num_labels": 1}, "needs two labels"),
        ({"problem_type": ["regression"]}, "problem_type .* is not supported"),
    ],
    ids=lambda said: json.dumps(said)[:40] if isinstance(said, dict) else "",
)
def test_labels_that_cannot_be_told_apart_are_refused(
    said: dict[str, Any], message: str, tmp_path: Path
) -> None:
    SequenceClassifier(bert()).save_pretrained(tmp_path)
    edit_config(tmp_path, id2label=None, label2id=None, problem_type=None)
    edit_config(tmp_path, **said)
    refused(tmp_path, message, SequenceClassifier)
    # Who brings new labels, or needs none, is not stopped by these.
    Encoder.from_pretrained(tmp_path)
    if "problem_type" not in said:
        new = SequenceClassifier.from_pretrained(tmp_path, labels=["a", "b", "c"])
        assert new.labels == ("a", "b", "c")


def test_a_number_of_labels_is_compared_with_the_file(tmp_path: Path) -> None:
    """Ten thousand names that no row of the classifier stands behind."""
    TokenClassifier(bert()).save_pretrained(tmp_path)
    edit_config(tmp_path, num_labels=10_000)
    refused(tmp_path, r"classifier.weight is \[2, 32\], expected \[10000, 32\]", TokenClassifier)


@pytest.mark.parametrize(
    "said",
    [
        {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
        {"hidden_size": 32, "n_layers": 2, "n_heads": 4},
        {"dim": 64, "hidden_size": 32, "n_layers": 9, "num_hidden_layers": 2, "n_heads": 4},
        {"dim": 32, "n_layers": 2, "n_heads": 8, "num_attention_heads": 4},
    ],
)
def test_distilbert_in_the_words_of_bert(said: dict[str, Any], tmp_path: Path) -> None:
    theirs, _ = pair("distilbert", "Encoder", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    kept = {k: v for k, v in config.items() if k not in ("dim", "n_layers", "n_heads")}
    (tmp_path / "config.json").write_text(json.dumps({**kept, **said}))
    ours, batch = Encoder.from_pretrained(tmp_path), inputs("distilbert")
    mask = batch["attention_mask"].bool()
    expected = transformers.AutoModel.from_pretrained(tmp_path)(**batch).last_hidden_state[mask]
    assert_close(ours(**batch).last_hidden_state[mask], expected, 1e-5)
    assert_close(theirs(**batch).last_hidden_state[mask], expected, 1e-5)


@pytest.mark.parametrize(
    "said",
    [
        {"sliding_window": 3},
        {"sliding_window": 3, "local_attention": 128},
        {"layer_types": ["full_attention", "sliding_attention"] * 2},
        {"layer_types": ["full_attention"] * 4},
        {"layer_types": ["full_attention"] + ["sliding_attention"] * 3},
        {"layer_types": None, "global_attn_every_n_layers": 2},
        {"global_rope_theta": 5.0, "local_rope_theta": 3.0, "rope_parameters": None},
        {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 7.0}}},
    ],
    ids=lambda said: "-".join(said),
)
def test_modernbert_in_all_its_words(said: dict[str, Any], tmp_path: Path) -> None:
    pair("modernbert", "Encoder", tmp_path)
    edit_config(tmp_path, **said)
    ours, batch = Encoder.from_pretrained(tmp_path), inputs("modernbert")
    theirs = transformers.AutoModel.from_pretrained(tmp_path, attn_implementation="eager")
    mask = batch["attention_mask"].bool()
    expected = theirs(**batch).last_hidden_state[mask]
    assert_close(ours(**batch).last_hidden_state[mask], expected, 1e-5)


def test_no_local_base_is_the_global_one(tmp_path: Path) -> None:
    """As version 4 of transformers reads it; 5 has no null there."""
    Encoder(modern()).save_pretrained(tmp_path)
    edit_config(tmp_path, rope_parameters=None, global_rope_theta=7.0, local_rope_theta=None)
    config = Encoder.from_pretrained(tmp_path).config
    assert (config.global_rope_theta, config.local_rope_theta) == (7.0, 7.0)


@pytest.mark.parametrize(
    ("family", "field"),
    [("electra", "summary_activation"), ("roberta", "hidden_act"), ("mpnet", "pad_token_id")],
)
def test_null_is_not_the_supported_value(family: str, field: str, tmp_path: Path) -> None:
    pair(family, "Encoder", tmp_path)
    edit_config(tmp_path, is_decoder=None, position_embedding_type=None)
    Encoder.from_pretrained(tmp_path)
    edit_config(tmp_path, **{field: None})
    refused(tmp_path, f"{field} None is not supported: only ")


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({}, '"model_type": "bert"$'),
        ({"architectures": []}, '"model_type": "bert" where it is a BERT'),
        ({"architectures": None}, '"model_type": "bert" where it is a BERT'),
        ({"architectures": ["RobertaForMaskedLM"]}, '"model_type": "roberta"$'),
        ({"architectures": ["DistilBertModel"]}, '"model_type": "distilbert"$'),
        ({"architectures": ["SomethingElse"]}, '"model_type": "bert" where'),
        ({"architectures": "BertModel"}, "architectures must be a list of texts"),
    ],
    ids=lambda said: json.dumps(said)[:40] if isinstance(said, dict) else "",
)
def test_a_config_without_model_type_says_what_to_add(
    said: dict[str, Any], named: str, folder: Path
) -> None:
    edit_config(folder, model_type=None, **said)
    refused(folder, named)


@pytest.mark.parametrize("backend", ["plain", "fused"])
@FAMILY
def test_padding_that_stands_in_a_text(family: str, backend: Any, tmp_path: Path) -> None:
    """A literal `<pad>` is a token like others; in RoBERTa and MPNet it takes no place."""
    theirs, ours = pair(family, "Encoder", tmp_path, "eager")
    batch, pad = inputs(family), their_config(family).pad_token_id
    for row, column in [(0, 3), (0, 4), (0, 16), (1, 0), (2, 0), (3, 29), (3, 1)]:
        batch["input_ids"][row, column] = pad
    mask = batch["attention_mask"].bool()
    with torch.no_grad(), use_backend(backend):
        expected = theirs(**batch).last_hidden_state[mask]
        assert_close(ours(**batch).last_hidden_state[mask], expected, 1e-5)
        # Packed, a row at a time, and padded on the left: the same.
        for row in range(len(mask)):
            one = {name: tensor[row][mask[row]] for name, tensor in batch.items()}
            alone = ours(**{name: tensor[None] for name, tensor in one.items()})
            assert_close(alone.last_hidden_state[0], _of(row, mask, expected), 1e-5)
        flipped = {name: _to_the_right(tensor, mask) for name, tensor in batch.items()}
        right = ours(**flipped).last_hidden_state[flipped["attention_mask"].bool()]
        assert_close(right, expected, 1e-5)


def _of(row: int, mask: Tensor, packed: Tensor) -> Tensor:
    return packed.split(mask.sum(1).tolist())[row]


def _to_the_right(x: Tensor, mask: Tensor) -> Tensor:
    """Each row with its padding on the left."""
    rows = zip(x, mask.sum(1).tolist(), strict=True)
    return torch.stack([row.roll(len(row) - size) for row, size in rows])


@pytest.mark.parametrize("family", ROBERTAS)
def test_the_row_of_the_padding_learns_nothing(family: str, tmp_path: Path) -> None:
    """As theirs: neither its token nor its place, and both begin at zero."""
    theirs, ours = pair(family, "Encoder", tmp_path)
    batch, pad = inputs(family), their_config(family).pad_token_id
    batch["input_ids"][0, 3] = pad
    mask = batch["attention_mask"].bool()
    for model in (theirs.train(False), ours):
        model(**batch).last_hidden_state[mask].square().sum().backward()
    mine = ours.embeddings.positions.weight.grad
    assert_close(mine, theirs.embeddings.position_embeddings.weight.grad, 1e-4)
    assert not mine[pad].any()
    assert not Encoder(ours.config).embeddings.positions.weight[pad].any()


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "electra", "albert"])
def test_a_pair_for_a_model_with_one_segment(family: str, tmp_path: Path) -> None:
    """All its tokens are of that segment, as with the tokenizer that belongs to such a model."""
    theirs, ours = pair(family, "Encoder", tmp_path, type_vocab_size=1)
    batch = {**inputs(family), "token_type_ids": torch.zeros(5, 30, dtype=torch.int64)}
    mask = batch["attention_mask"].bool()
    expected = theirs(**batch).last_hidden_state[mask]
    batch["token_type_ids"][:, 4:] = 1
    assert_close(ours(**batch).last_hidden_state[mask], expected, 1e-5)
    assert_close(MaskedLM(ours.config)(**batch).isfinite().float().mean(), torch.tensor(1.0), 0)


@pytest.mark.parametrize(
    ("family", "said"),
    [
        ("bert", {"layer_norm_eps": 0.5}),
        ("bert", {"hidden_act": "relu"}),
        ("bert", {"pad_token_id": 7}),
        ("bert", {"pad_token_id": None}),
        ("bert", {"num_attention_heads": 8}),
        ("bert", {"chunk_size_feed_forward": 3}),
        ("bert", {"hidden_dropout_prob": 0.9, "initializer_range": 100.0}),
        ("roberta", {"layer_norm_eps": 0.5}),
        ("roberta", {"pad_token_id": 4}),
        ("camembert", {"num_attention_heads": 2}),
        ("electra", {"layer_norm_eps": 0.1, "num_attention_heads": 16}),
        ("albert", {"hidden_act": "gelu"}),
        ("albert", {"num_hidden_layers": 5}),
        ("albert", {"num_hidden_layers": 1, "hidden_act": "relu"}),
        ("mpnet", {"num_attention_heads": 4, "layer_norm_eps": 0.2}),
        ("distilbert", {"activation": "relu", "num_attention_heads": 2}),
        ("modernbert", {"norm_eps": 0.3}),
        ("modernbert", {"local_attention": 8}),
        ("modernbert", {"pad_token_id": 9, "max_position_embeddings": 31}),
    ],
    ids=lambda said: said if isinstance(said, str) else json.dumps(said)[:40],
)
def test_a_field_changes_the_numbers_as_it_does_there(
    family: str, said: dict[str, Any], tmp_path: Path
) -> None:
    """No tensor tells these: a field that were not read would go unseen."""
    pair(family, "Encoder", tmp_path)
    edit_config(tmp_path, **said)
    ours, batch = Encoder.from_pretrained(tmp_path), inputs(family)
    mask = batch["attention_mask"].bool()
    theirs = transformers.AutoModel.from_pretrained(tmp_path, attn_implementation="eager")
    expected = theirs(**batch).last_hidden_state[mask]
    assert_close(ours(**batch).last_hidden_state[mask], expected, 1e-5)
