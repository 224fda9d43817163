"""An exported model in ONNX Runtime gives the numbers of the packed one, on any lengths."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from plainformer.base import UserError
from plainformer.deploy import OnnxModel, export_onnx
from plainformer.deploy import export as module
from plainformer.deploy.export import export_folder
from plainformer.encoder import (
    Discriminator,
    PairedMaskedLM,
    SentenceEncoder,
    quantize_int8,
)
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune import FinetuneConfig, Predictor, finetune
from plainformer.training import LoopConfig
from tests.deploy.ragged import assert_is_packed, batch_of
from tests.encoder.families import CONFIGS, OURS, pair
from tests.encoder.tools import bert, modern, randomise

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.usefixtures("tracing")


def check(model: PretrainedModel, path: Path, bound: float = 1e-5) -> OnnxModel:
    export_onnx(model, path)
    exported = OnnxModel(path, model.config)
    assert_is_packed(exported, model, bound)
    return exported


def test_exported_is_packed(tmp_path):
    _, ours = pair("bert", "QuestionAnswerer", tmp_path)
    exported = check(ours, tmp_path / "model.onnx")
    assert exported.output_names == ["start_logits", "end_logits"]
    assert exported.input_names == ["input_ids", "attention_mask", "token_type_ids"]


def test_attentions_are_those_of_the_model(tmp_path):
    """Also in a model of local and global layers. The queries that are padding are not compared."""
    config = modern(local_attention=4, global_attn_every_n_layers=2)
    model = randomise(OURS["MaskedLM"](config)).eval()
    export_onnx(model, tmp_path / "model.onnx", attentions=True)
    exported = OnnxModel(tmp_path / "model.onnx", config)
    assert exported.output_names == ["logits", "attentions"]
    batch = batch_of([3, 9, 17], config.vocab_size, 0)
    inputs = batch.input_ids, None, None, batch.sequences
    logits, found = exported(*inputs)
    ours = model(*inputs, output_attentions=True)
    expected = torch.stack(ours.attentions, dim=1)
    torch.testing.assert_close(logits, ours.logits, rtol=0, atol=1e-4)
    assert found.shape == expected.shape == (3, *expected.shape[1:3], 17, 17)
    for text, length in enumerate([3, 9, 17]):
        rows = found[text, :, :, :length], expected[text, :, :, :length]
        torch.testing.assert_close(*rows, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("head", list(OURS))
@pytest.mark.parametrize("family", list(CONFIGS))
def test_every_family_and_head(family, head, tmp_path):
    _, ours = pair(family, head, tmp_path)
    check(ours, tmp_path / "model.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("head", [SentenceEncoder, PairedMaskedLM, Discriminator])
def test_heads_that_few_families_have(head, tmp_path):
    config = bert(classifier_head="gelu") if head is Discriminator else bert()
    check(randomise(head(config)).eval(), tmp_path / "model.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("positions", ["sinusoidal", "alibi", "rotary"])
def test_positions_that_no_family_has_alone(positions, tmp_path):
    check(randomise(OURS["Encoder"](modern(positions=positions))).eval(), tmp_path / "model.onnx")


def test_a_classifier_there_and_back(models, files, tmp_path):
    """Predictions and scores of the exported folder are those of the run; int8 is scored, too."""
    run, out = tmp_path / "run", tmp_path / "out"
    loop = LoopConfig(learning_rate=1e-2, eval_every=0, checkpoint_every=0)
    finetune(
        FinetuneConfig(
            model=models["modern"],
            train=files("train"),
            valid=files("valid"),
            out=run,
            training=loop,
        ),
        quiet=True,
    )
    whole, exported, quantised = export_folder(run, out, files("test"), int8=True)
    assert exported.scores["accuracy"] == whole.scores["accuracy"] > 0.9
    assert quantised.scores["accuracy"] >= 0.8
    assert exported.difference <= 1e-5 < quantised.difference
    assert (out / "onnx" / "model_quantized.onnx").stat().st_size == round(
        quantised.megabytes * 1e6
    )
    ours = Predictor.load(run)
    there = replace(ours, model=OnnxModel(out / "onnx" / "model.onnx", ours.model.config))
    texts = ["the red hen pecks the red corn .", "the blue dog", "x"]
    for one, other in zip(ours(texts), there(texts), strict=True):
        assert one.label == other.label
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    # What optimum and transformers.js read beside the graph.
    config = json.loads((out / "config.json").read_text())
    assert config["id2label"] == {"0": "beast", "1": "bird"}
    assert (out / "tokenizer.json").exists() and (out / "task.json").exists()


def test_a_difference_is_an_error_and_leaves_nothing(models, tmp_path, monkeypatch):
    def wrong(model: PretrainedModel, path: Path) -> None:
        *_, last = model.base.blocks.parameters()
        last.data += 0.1
        export_onnx(model, path)
        last.data -= 0.1

    monkeypatch.setattr(module, "export_onnx", wrong)
    with pytest.raises(UserError, match=r"differs by .* more than the tolerance of 1e-05"):
        export_folder(models["bert"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_exported(models, tmp_path):
    with pytest.raises(UserError, match="no task to be measured by"):
        export_folder(models["bert"], tmp_path / "out", data="trec")
    model = quantize_int8(randomise(OURS["Encoder"](bert())))
    with pytest.raises(UserError, match="an int8 model cannot be exported"):
        export_onnx(model, tmp_path / "model.onnx")


def test_weights_of_a_large_model_are_in_a_file_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr("plainformer.deploy.onnx_export.MOST_BYTES", 0)
    (tmp_path / "out").mkdir()
    check(randomise(OURS["MaskedLM"](bert())).eval(), tmp_path / "out" / "model.onnx")
    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert found == ["model.onnx", "model.onnx_data"]
