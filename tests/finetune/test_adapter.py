"""Adapters as folders: read by peft, and from it; opened by every command; refused with reasons."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from plainformer.__main__ import main
from plainformer.base import UserError, read_json, write_json
from plainformer.encoder import Encoder, MaskedLM, SequenceClassifier, TokenClassifier
from plainformer.finetune import Embedder, FinetuneConfig, Predictor, TuningOptions, finetune
from plainformer.finetune.tasks.tagging.crf import ChainTagger
from plainformer.finetune.tuning import add_dora, add_lora, add_tensors, save_adapter
from plainformer.training import LoopConfig
from tests.encoder.families import OURS, inputs, pair, rotate_without_rounding, their_class
from tests.encoder.tools import assert_close, bert, modern, padded, randomise
from tests.finetune.test_lora import THEIR_TARGETS, drawn

peft = pytest.importorskip("peft")

FAMILY = pytest.mark.parametrize("family", list(THEIR_TARGETS))
TASK_TYPES = {
    "SequenceClassifier": "SEQ_CLS",
    "TokenClassifier": "TOKEN_CLS",
    "QuestionAnswerer": "QUESTION_ANS",
    "ChoiceScorer": None,
    "MaskedLM": None,
    "Encoder": "FEATURE_EXTRACTION",
}
# What LoRA or DoRA adds stands in the blocks, whatever head is on them.
BOTH_AND_EACH_HEAD = pytest.mark.parametrize(
    ("add", "head"), [(add_dora, "SequenceClassifier"), *((add_lora, head) for head in TASK_TYPES)]
)


@pytest.fixture(autouse=True)
def unrounded(monkeypatch: pytest.MonkeyPatch) -> None:
    rotate_without_rounding(monkeypatch)


def outputs(model: Any, batch: Any) -> list[torch.Tensor]:
    """Every output of one of our models, or of theirs."""
    with torch.no_grad():
        out = model(**batch)
    out = getattr(out, "last_hidden_state", getattr(out, "logits", out))
    if hasattr(out, "start_logits"):
        return [out.start_logits, out.end_logits]
    return list(out) if isinstance(out, tuple) else [out]


def compare(ours: Any, theirs: Any, family: str, head: str, bound: float = 1e-10) -> None:
    batch = inputs(family)
    mask = batch["attention_mask"].bool()
    options = {name: tensor[None] for name, tensor in batch.items()}
    # The model itself: around it, peft's question answering drops the token types.
    theirs = theirs.base_model.model
    expected = outputs(theirs, options if head == "ChoiceScorer" else batch)
    for mine, other in zip(outputs(ours, batch), expected, strict=True):
        if head in ("Encoder", "MaskedLM", "TokenClassifier", "QuestionAnswerer"):
            mine, other = mine[mask], other[mask]
        assert_close(mine.flatten(), other.flatten(), bound)


@BOTH_AND_EACH_HEAD
@FAMILY
def test_peft_opens_our_folder(family: str, head: str, add: Any, tmp_path: Path) -> None:
    _, ours = pair(family, head, tmp_path / "base")
    targets = ("query", "value", "output", "down", *(("gate",) if family == "modernbert" else ()))
    add(ours, rank=3, alpha=5, targets=targets, rank_stabilised=True)
    drawn(ours)
    if head not in ("MaskedLM", "Encoder"):
        randomise_head(ours)
    save_adapter(ours, tmp_path / "adapter", tmp_path / "base")
    base = their_class(family, head).from_pretrained(tmp_path / "base")
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").double().eval()
    # The norms of rows that DoRA leaves alone are saved in float32.
    compare(ours.double(), theirs, family, head, 1e-6 if add is add_dora else 1e-10)
    again = OURS[head].from_pretrained(tmp_path / "adapter", add=add_tensors).double()
    assert {n: p.requires_grad for n, p in again.named_parameters()} == {
        n: p.requires_grad for n, p in ours.named_parameters()
    }
    assert all(t.equal(ours.state_dict()[name]) for name, t in again.state_dict().items())
    save_adapter(again.float(), tmp_path / "again", tmp_path / "base")
    for name in ("adapter_config.json", "adapter_model.safetensors", "tuning.json"):
        saved = [(tmp_path / folder / name).read_bytes() for folder in ("adapter", "again")]
        assert saved[0] == saved[1]


def randomise_head(model: Any) -> None:
    """Draw the head anew: it must come from the adapter."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("encoder."):
                parameter += 0.1 * torch.randn_like(parameter)


@pytest.mark.parametrize("is_dora", [False, True])
@pytest.mark.parametrize("head", ["SequenceClassifier", "TokenClassifier", "Encoder"])
@FAMILY
def test_we_open_what_peft_saved(family: str, head: str, is_dora: bool, tmp_path: Path) -> None:
    pair(family, head, tmp_path / "base")
    theirs = their_class(family, head).from_pretrained(tmp_path / "base", num_labels=3)
    settings = peft.LoraConfig(
        task_type=TASK_TYPES[head],
        r=3,
        lora_alpha=5,
        target_modules=THEIR_TARGETS[family],
        rank_pattern={THEIR_TARGETS[family][-1]: 2},
        alpha_pattern={THEIR_TARGETS[family][-1]: 7},
        use_rslora=True,
        use_dora=is_dora,
    )
    theirs = peft.get_peft_model(theirs, settings).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in theirs.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn_like(parameter)
    theirs.save_pretrained(tmp_path / "adapter")
    ours = OURS[head].from_pretrained(tmp_path / "adapter", add=add_tensors)
    compare(ours.double(), theirs.double(), family, head)


def test_a_new_pooler_and_a_crf_go_with_it(tmp_path: Path) -> None:
    Encoder(bert(), pooler=False).save_pretrained(tmp_path / "base")
    model = SequenceClassifier.from_pretrained(tmp_path / "base", labels=["a", "b", "c"])
    add_lora(model)
    save_adapter(drawn(model), tmp_path / "adapter", tmp_path / "base")
    again = SequenceClassifier.from_pretrained(tmp_path / "adapter", add=add_tensors)
    assert again.labels == ("a", "b", "c")
    assert again(**padded([5, 3])).equal(model.eval()(**padded([5, 3])))
    names = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert "base_model.model.bert.pooler.dense.weight" in names
    assert read_json(tmp_path / "adapter" / "adapter_config.json")["modules_to_save"] == [
        "bert.pooler",
        "classifier",
    ]
    labels = ["O", "B-x", "I-x"]
    tagger = ChainTagger(TokenClassifier.from_pretrained(tmp_path / "base", labels=labels))
    randomise(tagger.crf)
    add_lora(tagger)
    save_adapter(drawn(tagger), tmp_path / "tagger", tmp_path / "base")
    state = ChainTagger.load(tmp_path / "tagger").state_dict()
    assert state.keys() == tagger.state_dict().keys()
    for name, tensor in tagger.state_dict().items():
        assert_close(state[name], tensor, 1e-6)


def saved(folder: Path, config: Any = None) -> Path:
    """An adapter of a small classifier."""
    base = randomise(SequenceClassifier(config or bert()))
    base.save_pretrained(folder / "base")
    add_lora(base, targets=("query", "value"))
    save_adapter(drawn(base), folder / "adapter", folder / "base")
    return folder / "adapter"


def edited(folder: Path, file: str, **fields: Any) -> None:
    write_json(folder / file, {**read_json(folder / file), **fields})


def changed(folder: Path, change: Any) -> None:
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


Q = "base_model.model.bert.encoder.layer.0.attention.self.query."


def spoil(kind: str, adapter: Path) -> None:
    base = adapter.parent / "base"
    if kind == "moved":
        base.rename(adapter.parent / "elsewhere")
    elif kind == "retrained":
        torch.manual_seed(5)
        SequenceClassifier(bert()).save_pretrained(base)
    elif kind == "other method":
        edited(adapter, "adapter_config.json", peft_type="VERA")
    elif kind == "biases":
        edited(adapter, "adapter_config.json", bias="all")
    elif kind == "other rank":
        changed(adapter, lambda t: t.update({f"{Q}lora_A.weight": torch.zeros(3, 32)}))
    elif kind == "lost half":
        changed(adapter, lambda t: t.pop(f"{Q}lora_B.weight"))
    elif kind == "other layer":
        changed(adapter, lambda t: t.update({f"{Q}lora_X.weight": torch.zeros(3, 32)}))
    elif kind == "not finite":
        changed(adapter, lambda t: t[f"{Q}lora_B.weight"].fill_(torch.nan))
    elif kind == "cut":
        path = adapter / "adapter_model.safetensors"
        path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("moved", "is an adapter of the model in .*base, which is not found .*there is no folder"),
        ("retrained", "whose weights have changed"),
        ("other method", "peft_type 'VERA' is not supported; supported: ADALORA, LORA"),
        ("biases", r"adapter_config\.json: bias"),
        ("other rank", r"layer\.0\.attention\.self\.query\.lora_A and lora_B do not fit"),
        ("lost half", r"missing tensors: .*query\.lora_B"),
        ("other layer", r"unexpected tensors: .*query\.lora_X"),
        ("not finite", "NaN"),
        ("cut", r"adapter_model\.safetensors is damaged"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(kind: str, message: str, tmp_path: Path) -> None:
    adapter = saved(tmp_path)
    spoil(kind, adapter)
    with pytest.raises(UserError, match=message):
        SequenceClassifier.from_pretrained(adapter, add=add_tensors)


def test_a_missing_head_is_named(tmp_path: Path) -> None:
    """With a base that has none, which is the one it was saved with."""
    adapter = saved(tmp_path)
    Encoder(bert()).save_pretrained(tmp_path / "base")
    changed(adapter, lambda t: [t.pop(n) for n in list(t) if "classifier" in n])
    (adapter / "tuning.json").unlink()
    with pytest.raises(UserError, match=r"missing tensors: classifier\.weight"):
        SequenceClassifier.from_pretrained(adapter, add=add_tensors)


def test_where_only_whole_models_go_an_adapter_is_refused(tmp_path: Path) -> None:
    adapter = saved(tmp_path)
    with pytest.raises(UserError, match="an adapter; plainformer convert merges it"):
        MaskedLM.from_pretrained(adapter)
    with pytest.raises(UserError, match="to which no other can be added: plainformer convert"):
        save_adapter(drawn(tuned()), tmp_path / "second", adapter)
    with pytest.raises(UserError, match="no added parameters"):
        save_adapter(SequenceClassifier(bert()), tmp_path / "none", tmp_path / "base")


def tuned() -> SequenceClassifier:
    model = SequenceClassifier(bert())
    add_lora(model)
    return model


@pytest.fixture(scope="module")
def run(models, files, one_thread, tmp_path_factory) -> Path:
    """A tuned run."""
    out = tmp_path_factory.mktemp("run") / "tuned"
    training = LoopConfig(learning_rate=2e-2, device="cpu")
    config = FinetuneConfig(models["modern"], files("train"), out, valid=files("valid"), epochs=2)
    finetune(
        replace(config, training=training, tuning=TuningOptions(lora=8, lora_targets=("all",))),
        quiet=True,
    )
    return out


def test_every_command_opens_a_tuned_run(run, files, tmp_path, capsys):
    text = tmp_path / "texts.txt"
    text.write_text("the cat saw a hen\nan owl ran\n")
    whole = tmp_path / "whole"
    assert main(["convert", str(run), "--out", str(whole)]) == 0
    assert (whole / "model.safetensors").exists() and not (whole / "adapter_config.json").exists()
    for folder in (run, whole):
        out = tmp_path / f"out-{folder.name}"
        out.mkdir()
        predictions, vectors = str(out / "p.jsonl"), str(out / "v.npy")
        assert main(["predict", str(folder), "--file", str(text), "--out", predictions]) == 0
        assert main(["embed", str(folder), "--file", str(text), "--out", vectors]) == 0
        scores = str(out / "scores")
        assert main(["evaluate", str(folder), "--data", files("valid"), "--out", scores]) == 0
    one, other = (tmp_path / f"out-{folder.name}" for folder in (run, whole))
    np.testing.assert_allclose(np.load(one / "v.npy"), np.load(other / "v.npy"), atol=1e-5)
    labels = [
        [json.loads(line)["label"] for line in (out / "p.jsonl").read_text().splitlines()]
        for out in (one, other)
    ]
    assert labels[0] == labels[1] and len(labels[0]) == 2
    measured = read_json(run / "metrics.json")["valid"]["accuracy"]
    assert measured > 0.8
    for out in (one, other):
        found = read_json(out / "scores" / "metrics.json")["accuracy"]
        assert found == pytest.approx(measured)
    assert main(["runs", str(run)]) == 0
    for task in ("classification", "tagging", "sentence-embedding"):
        assert main(["finetune", task, "--model", str(run), "--train", "t.tsv", "--out", "o"]) == 2
        assert f"plainformer convert {run} --out DIR merges it" in capsys.readouterr().err


def test_without_our_file_the_folder_is_opened_as_pefts(run, tmp_path):
    """The labels have lost their names, the tokenizer is the base model's; the rest is the same."""
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(run / name, bare / name)
    texts = ["the cat saw a hen", "an owl ran"]
    theirs, ours = Predictor.load(bare, "cpu")(texts), Predictor.load(run, "cpu")(texts)
    for their, our in zip(theirs, ours, strict=True):
        values = [list(prediction.probabilities.values()) for prediction in (their, our)]
        assert values[0] == pytest.approx(values[1], abs=1e-5)
    vectors = [Embedder.load(folder, device="cpu")(texts) for folder in (bare, run)]
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)


def test_the_base_is_also_found_by_its_name(tmp_path, monkeypatch):
    adapter = saved(tmp_path, modern())
    path = adapter / "adapter_config.json"
    edited(
        adapter, "tuning.json", base={**read_json(adapter / "tuning.json")["base"], "name": "base"}
    )
    edited(adapter, path.name, base_model_name_or_path=str(tmp_path / "gone"))
    monkeypatch.chdir(tmp_path)
    SequenceClassifier.from_pretrained(adapter, add=add_tensors)
