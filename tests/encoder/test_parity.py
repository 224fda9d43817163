"""Equal to `transformers`: every hidden state, attention map, logit, loss and gradient."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import cross_entropy

from cellar import UserError
from encoder import (
    Encoder,
    EncoderConfig,
    MaskedLM,
    QuestionAnswerer,
    SequenceClassifier,
    Sequences,
    TokenClassifier,
    ops,
)
from encoder.weights import FAMILIES
from tests.encoder.tools import VOCAB, assert_close, bert, modern, padded, randomise

transformers = pytest.importorskip("transformers")
logging.getLogger("transformers").setLevel(logging.ERROR)

LENGTHS = [17, 1, 9, 30, 9]
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": SIZES,
    "roberta": {**SIZES, "type_vocab_size": 1, "max_position_embeddings": 42},
    "xlm-roberta": {**SIZES, "type_vocab_size": 1, "max_position_embeddings": 42},
    "camembert": {**SIZES, "pad_token_id": 2, "max_position_embeddings": 43},
    "distilbert": {
        "vocab_size": VOCAB,
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 48,
        "max_position_embeddings": 40,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    },
    "electra": {**SIZES, "embedding_size": 16},
    "albert": {**SIZES, "embedding_size": 16, "num_hidden_layers": 3},
    "mpnet": {**SIZES, "max_position_embeddings": 42},
    "modernbert": {
        "vocab_size": VOCAB,
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 64,
        "local_attention": 4,
        "pad_token_id": 3,
        "norm_bias": True,
        "attention_bias": True,
        "mlp_bias": True,
    },
}
OURS = {
    model.__name__: model
    for model in (Encoder, MaskedLM, SequenceClassifier, TokenClassifier, QuestionAnswerer)
}
FAMILY = pytest.mark.parametrize("family", list(CONFIGS))
HEAD = pytest.mark.parametrize("head", [head for head in OURS if head != "Encoder"])
EVERY = pytest.mark.parametrize("head", list(OURS))
PRECISION = pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["single", "double"]
)


def their_class(family: str, head: str) -> Any:
    return getattr(transformers, FAMILIES[family].architectures[head])


def their_config(family: str, head: str = "Encoder", **changes: Any) -> Any:
    labels = {"num_labels": 2 if head == "QuestionAnswerer" else 3}
    return their_class(family, head).config_class(**{**CONFIGS[family], **labels, **changes})


def pair(
    family: str, head: str, folder: Path, attention: str = "sdpa", **changes: Any
) -> tuple[Any, Any]:
    """Their model with random parameters, and ours loaded from what they saved."""
    config = their_config(family, head, **changes)
    config._attn_implementation = "eager" if family == "mpnet" else attention
    theirs = randomise(their_class(family, head)(config))
    theirs.save_pretrained(folder)
    return theirs, OURS[head].from_pretrained(folder)


def inputs(family: str) -> dict[str, Tensor]:
    """A padded batch: token types as far as the family has them, its own id on the padding."""
    batch = padded(LENGTHS)
    config = their_config(family)
    batch["input_ids"][batch["attention_mask"] == 0] = config.pad_token_id
    segments = FAMILIES[family].read_config(CONFIGS[family]).type_vocab_size
    if segments:
        batch["token_type_ids"] %= segments
    else:
        del batch["token_type_ids"]
    return batch


@pytest.fixture(autouse=True)
def rotate_without_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their ModernBERT rounds queries and keys to float32; their Llama, the same formula, not."""
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb
    from transformers.models.modernbert import modeling_modernbert

    monkeypatch.setattr(modeling_modernbert, "apply_rotary_pos_emb", apply_rotary_pos_emb)


@FAMILY
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@PRECISION
def test_every_hidden_state_and_attention_map(
    family: str, attention: str, dtype: torch.dtype, bound: float, tmp_path: Path
) -> None:
    if (family, attention, dtype) == ("modernbert", "eager", torch.float64):
        pytest.skip("theirs takes its softmax in float32 even of float64")
    theirs, ours = (m.to(dtype) for m in pair(family, "Encoder", tmp_path, attention))
    batch = inputs(family)
    mask = batch["attention_mask"].bool()
    maps = attention == "eager"
    with torch.no_grad():
        expected = theirs(**batch, output_hidden_states=True, output_attentions=maps)
        got = ours(**batch, output_hidden_states=True, output_attentions=maps)
    assert got.last_hidden_state.dtype == dtype
    assert_close(got.last_hidden_state[mask], expected.last_hidden_state[mask], bound)
    assert len(got.hidden_states) == len(expected.hidden_states)
    for mine, other in zip(got.hidden_states, expected.hidden_states, strict=True):
        assert_close(mine[mask], other[mask], bound)
    if maps:
        assert len(got.attentions) == len(expected.attentions)
        for mine, other in zip(got.attentions, expected.attentions, strict=True):
            # Theirs gives NaN where a window of padding is all that a padding query sees.
            queries = mask[:, None, :].expand(mine.shape[:3])
            assert_close(mine[queries], other[queries], bound)
    pooled = getattr(expected, "pooler_output", None)
    assert (got.pooler_output is None) == (pooled is None)
    if pooled is not None:
        assert_close(got.pooler_output, pooled, bound)
    assert ours.num_parameters() == theirs.num_parameters()


def targets(head: str, mask: Tensor) -> dict[str, Tensor]:
    """Random labels in the form of their arguments."""
    generator = torch.Generator().manual_seed(3)

    def draw(high: int, *shape: int) -> Tensor:
        return torch.randint(0, high, shape, generator=generator)

    if head == "SequenceClassifier":
        return {"labels": draw(3, len(mask))}
    if head == "QuestionAnswerer":
        lengths = mask.sum(1)
        return {
            "start_positions": draw(1000, len(mask)) % lengths,
            "end_positions": draw(1000, len(mask)) % lengths,
        }
    labels = draw(VOCAB if head == "MaskedLM" else 3, *mask.shape)
    return {"labels": labels.masked_fill((mask == 0) | (draw(4, *mask.shape) == 0), -100)}


def their_answer(theirs: Any, head: str, batch: dict[str, Tensor]) -> tuple[list[Tensor], Tensor]:
    """Logits of the padded batch, at the tokens, and the loss.

    Of an answer's place they count the padding as a candidate: so one text at a time there.
    """
    mask = batch["attention_mask"].bool()
    aims = targets(head, batch["attention_mask"])
    if head != "QuestionAnswerer":
        output = theirs(**batch, **aims)
        # For some models theirs takes the logarithm in float32 even of float64.
        loss = cross_entropy(output.logits.flatten(0, -2), aims["labels"].flatten())
        assert_close(output.loss, loss, 1e-6)
        return [output.logits if head == "SequenceClassifier" else output.logits[mask]], loss
    output = theirs(**batch)
    losses = []
    for row, length in enumerate(mask.sum(1).tolist()):
        one = {name: x[row : row + 1, :length] for name, x in batch.items()}
        losses.append(theirs(**one, **{k: v[row : row + 1] for k, v in aims.items()}).loss)
    return [output.start_logits[mask], output.end_logits[mask]], torch.stack(losses).mean()


def our_answer(
    ours: Any, head: str, batch: dict[str, Tensor], packed: bool
) -> tuple[list[Tensor], Tensor]:
    """The same of ours: from the padded batch, or from one row of real tokens."""
    mask = batch["attention_mask"].bool()
    aims = targets(head, batch["attention_mask"])
    sequences = Sequences.of(mask.sum(1).tolist())
    if packed:
        given = {name: x[mask] for name, x in batch.items() if name != "attention_mask"}
        answer = ours(**given, sequences=sequences)
    else:
        answer = ours(**batch)
    if head == "QuestionAnswerer":
        places = answer if not packed else [sequences.pad(x) for x in answer]
        lowest = torch.finfo(places[0].dtype).min
        padding = ~mask[:, : places[0].shape[1]]
        rows = [x.masked_fill(padding, lowest) if packed else x for x in places]
        assert all((x[padding] == lowest).all() for x in rows)
        both = zip(rows, aims.values(), strict=True)
        loss = sum(ops.cross_entropy(x, y) for x, y in both) / (2 * len(mask))
        return [x[~padding] for x in rows], loss
    if head == "SequenceClassifier":
        return [answer], ops.cross_entropy(answer, aims["labels"]) / len(mask)
    if not packed:
        assert not answer[~mask].any()
        answer = answer[mask]
    labels = aims["labels"][mask]
    return [answer], ops.cross_entropy(answer, labels) / (labels != -100).sum()


@FAMILY
@HEAD
@PRECISION
def test_logits_loss_and_every_gradient(
    family: str, head: str, dtype: torch.dtype, bound: float, tmp_path: Path
) -> None:
    agree(*pair(family, head, tmp_path), family, head, dtype, bound)


def agree(theirs: Any, ours: Any, family: str, head: str, dtype: torch.dtype, bound: float) -> None:
    """In logits, loss and every gradient; padded and packed, on both backends."""
    theirs, ours = theirs.to(dtype), ours.to(dtype)
    batch = inputs(family)
    expected, loss = their_answer(theirs, head, batch)
    loss.backward()
    tied = theirs.all_tied_weights_keys if theirs.config.tie_word_embeddings else {}
    wanted = {
        name: parameter.grad
        for name, parameter in theirs.named_parameters(remove_duplicate=False)
        if parameter.grad is not None and name not in tied
    }
    # Untied, theirs may have a second bias that nothing reads; ours has none.
    idle = sum(p.numel() for p in theirs.parameters() if p.grad is None)
    assert ours.num_parameters() + idle == theirs.num_parameters()
    scale = max(gradient.abs().max().item() for gradient in wanted.values())
    for packed, backend in ((False, "fused"), (True, "fused"), (False, "plain")):
        ours.backend = backend
        ours.zero_grad()
        with ops.use_backend(backend):
            got, our_loss = our_answer(ours, head, batch, packed)
        for mine, other in zip(got, expected, strict=True):
            assert_close(mine, other, bound)
        assert_close(our_loss, loss, bound)
        our_loss.backward()
        named = {name: parameter.grad for name, parameter in ours.named_parameters()}
        renamed = FAMILIES[family].to_theirs(named, head)
        if head == "MaskedLM" and not ours.config.tie_word_embeddings:
            biases = FAMILIES[family].with_second_bias(renamed)
            renamed = {name: biases[name] for name in biases if name in wanted}
        assert renamed.keys() == wanted.keys()
        for name, gradient in wanted.items():
            assert (renamed[name] - gradient).abs().max() <= bound * scale, name


@pytest.mark.parametrize(
    ("family", "head", "changes"),
    [
        ("modernbert", "SequenceClassifier", {"classifier_pooling": "mean"}),
        ("distilbert", "MaskedLM", {"tie_word_embeddings": False}),
        ("electra", "MaskedLM", {"tie_word_embeddings": False}),
        ("modernbert", "MaskedLM", {"tie_word_embeddings": False}),
        ("bert", "MaskedLM", {"tie_word_embeddings": False}),
        ("roberta", "MaskedLM", {"tie_word_embeddings": False}),
        ("albert", "MaskedLM", {"tie_word_embeddings": False}),
        ("electra", "MaskedLM", {"embedding_size": 32}),
        ("albert", "MaskedLM", {"embedding_size": 32, "hidden_act": "gelu"}),
        ("bert", "MaskedLM", {"hidden_act": "gelu_new"}),
        ("bert", "MaskedLM", {"hidden_act": "relu"}),
        ("distilbert", "MaskedLM", {"activation": "relu"}),
    ],
)
def test_variants(family: str, head: str, changes: dict[str, Any], tmp_path: Path) -> None:
    theirs, ours = pair(family, head, tmp_path / "theirs", **changes)
    agree(theirs, ours, family, head, torch.float64, 1e-10)
    ours.float().save_pretrained(tmp_path / "ours")
    again, report = their_class(family, head).from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert OURS[head].from_pretrained(tmp_path / "ours").config == ours.config
    for name, value in changes.items():
        assert getattr(again.config, name) == value
    stored, made = (load_file(tmp_path / f / "model.safetensors") for f in ("theirs", "ours"))
    assert stored.keys() == made.keys()


def test_both_names_of_the_tanh_form() -> None:
    for name in ("gelu_new", "gelu_pytorch_tanh"):
        assert FAMILIES["bert"].read_config({"hidden_act": name}).hidden_act == "gelu_tanh"


@FAMILY
@EVERY
def test_there_and_back_again(family: str, head: str, tmp_path: Path) -> None:
    """Ours → theirs → ours: their class, no name too many or too few, the same bits."""
    ours = pair(family, head, tmp_path / "start")[1]
    ours.save_pretrained(tmp_path / "here")
    cls = their_class(family, head)
    theirs, report = cls.from_pretrained(tmp_path / "here", output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert theirs.config.architectures == [cls.__name__]
    assert (
        type(transformers.AutoModel.from_pretrained(tmp_path / "here")).__name__
        == (FAMILIES[family].architectures["Encoder"])
    )
    theirs.save_pretrained(tmp_path / "there")
    again = OURS[head].from_pretrained(tmp_path / "there")
    assert again.config == ours.config
    before, after = ours.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor), name
    first, last = (load_file(tmp_path / f / "model.safetensors") for f in ("start", "here"))
    assert first.keys() == last.keys()
    for name, tensor in first.items():
        assert torch.equal(last[name], tensor), name


@pytest.mark.parametrize("family", list(CONFIGS))
def test_a_config_of_defaults(family: str) -> None:
    """A published `config.json` leaves out what is default there; the defaults here agree."""
    empty = FAMILIES[family].read_config({})
    full = their_class(family, "Encoder").config_class().to_dict()
    assert FAMILIES[family].read_config(full) == empty
    assert FAMILIES[family].expresses(empty)


@pytest.mark.parametrize(
    ("preset", "family", "published"),
    [("bert-base", "bert", 109_482_240), ("modern-base", "modernbert", 149_014_272)],
)
def test_published_sizes(preset: str, family: str, published: int) -> None:
    with torch.device("meta"):
        ours = Encoder(EncoderConfig.preset(preset))
        theirs = their_class(family, "Encoder")(their_class(family, "Encoder").config_class())
    assert ours.num_parameters() == theirs.num_parameters() == published


@pytest.mark.parametrize("family", ["bert", "modernbert"])
@EVERY
def test_what_is_made_here_opens_there(family: str, head: str, tmp_path: Path) -> None:
    ours = randomise(OURS[head](bert() if family == "bert" else modern()))
    ours.save_pretrained(tmp_path)
    cls = their_class(family, head)
    theirs, report = cls.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    batch = inputs(family)
    mask = batch["attention_mask"].bool()
    with torch.no_grad():
        expected, got = theirs.eval()(**batch), ours(**batch)
    if head == "Encoder":
        assert_close(got.last_hidden_state[mask], expected.last_hidden_state[mask], 1e-5)
    elif head == "SequenceClassifier":
        assert_close(got, expected.logits, 1e-5)
    elif head == "QuestionAnswerer":
        assert_close(got[0][mask], expected.start_logits[mask], 1e-5)
        assert_close(got[1][mask], expected.end_logits[mask], 1e-5)
    else:
        assert_close(got[mask], expected.logits[mask], 1e-5)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_labels_and_pooling_open_there(pooling: Any, tmp_path: Path) -> None:
    ours = SequenceClassifier(modern(), labels=["no", "yes", "maybe"], pooling=pooling)
    ours.save_pretrained(tmp_path)
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    assert config.id2label == {0: "no", 1: "yes", 2: "maybe"}
    assert config.label2id == {"no": 0, "yes": 1, "maybe": 2}
    assert config.classifier_pooling == pooling


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_sinusoidal_opens_there_with_its_table(family: str, tmp_path: Path) -> None:
    config = bert(positions="sinusoidal")
    if family == "distilbert":
        shape = {**CONFIGS[family], "sinusoidal_pos_embds": True, "seq_classif_dropout": 0.0}
        config = FAMILIES[family].read_config(shape)
    ours = randomise(Encoder(config))
    ours.save_pretrained(tmp_path)
    theirs, report = transformers.AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert type(theirs) is their_class(family, "Encoder")
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert Encoder.from_pretrained(tmp_path).config == config
    batch = inputs(family)
    mask = batch["attention_mask"].bool()
    got, expected = ours(**batch), theirs.eval()(**batch)
    assert_close(got.last_hidden_state[mask], expected.last_hidden_state[mask], 1e-5)


def test_positions_of_roberta_start_above_the_padding(tmp_path: Path) -> None:
    """Padding on the left, in the middle and on the right; theirs counts ids, ours the mask."""
    theirs, ours = pair("roberta", "Encoder", tmp_path)
    assert (ours.config.position_offset, ours.config.max_position_embeddings) == (2, 40)
    ids = torch.tensor([[1, 1, 7, 8, 9], [7, 8, 1, 9, 1], [7, 8, 9, 10, 11]])
    mask = ids != 1
    expected = theirs(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    assert_close(ours(ids, mask).last_hidden_state[mask], expected[mask], 1e-5)
    longest = torch.full((1, 40), 7)
    expected = theirs(input_ids=longest).last_hidden_state
    assert_close(ours(longest).last_hidden_state, expected, 1e-5)
    with pytest.raises(UserError, match="41 tokens, but the model has 40 positions"):
        ours(torch.full((1, 41), 7))


def test_heads_that_are_not_here_are_left_in_the_file(tmp_path: Path) -> None:
    """The published BERT, ALBERT and ELECTRA were saved with what pretrained them."""
    for family, masked_lm in (("bert", True), ("albert", True), ("electra", False)):
        name = FAMILIES[family].class_prefix + "ForPreTraining"
        theirs = randomise(getattr(transformers, name)(their_config(family)))
        theirs.save_pretrained(tmp_path / family)
        Encoder.from_pretrained(tmp_path / family)
        SequenceClassifier.from_pretrained(tmp_path / family, labels=["a", "b"])
        if masked_lm:
            batch = inputs(family)
            mask = batch["attention_mask"].bool()
            ours = MaskedLM.from_pretrained(tmp_path / family)
            assert_close(ours(**batch)[mask], theirs(**batch).prediction_logits[mask], 1e-5)


@FAMILY
def test_a_decoder_beside_what_it_is_tied_to(family: str, tmp_path: Path) -> None:
    """Files converted from pickles hold both; only one bias of the two is in some."""
    ours = pair(family, "MaskedLM", tmp_path)[1]
    (weight,) = FAMILIES[family].theirs("decoder.weight", "MaskedLM")
    (table,) = FAMILIES[family].theirs("encoder.embeddings.tokens.weight", "MaskedLM")
    (bias,) = FAMILIES[family].theirs("bias", "MaskedLM")
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors[weight] = tensors[table].clone()
    tensors[weight.replace("weight", "bias")] = tensors.pop(bias)
    save_file(tensors, path)
    again = MaskedLM.from_pretrained(tmp_path)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    tensors[weight][0, 0] += 1
    save_file(tensors, path)
    with pytest.raises(UserError, match=r"tie_word_embeddings is true, but .* is not"):
        MaskedLM.from_pretrained(tmp_path)
    Encoder.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("bert", {"is_decoder": True}),
        ("roberta", {"add_cross_attention": True}),
        ("electra", {"position_embedding_type": "relative_key"}),
        ("electra", {"hidden_act": "relu"}),
        ("mpnet", {"relative_attention_num_buckets": 16}),
        ("mpnet", {"pad_token_id": 0}),
        ("albert", {"num_hidden_groups": 2}),
        ("albert", {"inner_group_num": 2}),
        ("albert", {"embedding_size": 0}),
        ("roberta", {"type_vocab_size": 0}),
        ("xlm-roberta", {"hidden_act": "gelu_new"}),
        ("distilbert", {"activation": "silu"}),
        ("modernbert", {"classifier_bias": True}),
    ],
)
def test_what_is_not_supported_is_named(
    family: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    pair(family, "Encoder", tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    (name,) = changes
    name = "hidden_act" if name == "activation" else name
    with pytest.raises(UserError, match=rf"{name} \S+ is not supported"):
        Encoder.from_pretrained(tmp_path)
