"""A model in ONNX Runtime or OpenVINO answers as in torch, and is refused where it cannot be."""

import json
import shutil
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from plainformer.base import Inference, UserError
from plainformer.deploy import runtimes
from plainformer.deploy.export import export_folder
from plainformer.deploy.runtime_model import MOST_PADDING, like_lengths
from plainformer.deploy.server.served import Served
from tests.deploy.conftest import tracing  # noqa: F401
from tests.deploy.server.test_routes import INPUTS, close
from tests.pretrain import tiny

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.usefixtures("tracing")

QUESTION = {"question": "who pecks?", "context": " ".join(tiny.sentences(6, 3))}
ASKED = {**INPUTS, "answers": [QUESTION, {**QUESTION, "context": "the hen pecks ."}]}


def there():
    """The runtimes that are installed."""
    return [name for name in runtimes.MODELS if find_spec(name) is not None]


def answers(served, inputs):
    rows, items = served.read(inputs)
    return served.answers(rows, served.compute(items))


@pytest.mark.slow
@pytest.mark.parametrize("name", ASKED)
def test_every_runtime_gives_the_same_answers(name, runs, tmp_path):
    export_folder(runs[name], tmp_path / "out")
    wanted = answers(Served.load(runs[name]), ASKED[name])
    for runtime in ("torch", *there()):
        served = Served.load(tmp_path / "out", runtime=runtime)
        assert served.runtime == runtime and (served.exported is None) == (runtime == "torch")
        close(answers(served, ASKED[name]), wanted)
    if name == "labels":  # a graph of another head
        shutil.copytree(runs["vectors"], tmp_path / "other")
        shutil.copytree(tmp_path / "out" / "onnx", tmp_path / "other" / "onnx")
        with pytest.raises(UserError, match="gives logits, and what is served needs sentence_emb"):
            Served.load(tmp_path / "other", runtime="onnxruntime")


@pytest.mark.slow
def test_a_crf_keeps_its_transitions(runs, tmp_path):
    from plainformer.finetune.tasks.tagging.crf import ChainTagger

    plain = Served.load(runs["entities"]).predictor
    torch.manual_seed(0)
    tagger = ChainTagger(plain.model)
    for parameter in tagger.crf.parameters():
        parameter.data.normal_()
    run = tmp_path / "run"
    shutil.copytree(runs["entities"], run)
    tagger.save_pretrained(run)
    task = json.loads((run / "task.json").read_text())
    (run / "task.json").write_text(json.dumps({**task, "decoding": "crf"}))
    export_folder(run, tmp_path / "out")
    wanted = answers(Served.load(run), ASKED["entities"])
    for runtime in there():
        close(answers(Served.load(tmp_path / "out", runtime=runtime), ASKED["entities"]), wanted)


def test_vectors_and_the_choice(runs, tmp_path, capsys, monkeypatch):
    """Vectors and scores are the same, `auto` says what it took, and other weights are refused."""
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"no onnx/model.onnx: run `plainformer export"):
        Served.load(runs["vectors"], runtime="onnxruntime")
    export_folder(runs["vectors"], out)
    texts = [*tiny.sentences(5), "hen", "the hen " * 20]
    served = Served.load(out, runtime="torch")
    items = served.read_texts(texts)
    wanted = torch.tensor(np.stack(served.compute(items)))
    pairs = [["the red hen", "a blue owl"], ["x", "the hen pecks"]]
    for runtime in there():
        exported = Served.load(out, runtime=runtime)
        found = torch.tensor(np.stack(exported.compute(items)))
        assert (found - wanted).abs().max() <= 1e-5
        close(answers(exported, pairs), answers(served, pairs))
    monkeypatch.setattr(runtimes, "SECONDS", 0.01)
    chosen = Served.load(out)
    said = capsys.readouterr().err
    assert said.startswith(f"out runs in {chosen.runtime}: 16 texts take ")
    assert all(name in said for name in ("torch", *there()))
    with pytest.raises(UserError, match=r"no onnx/model_quantized.onnx: run .* --int8`"):
        Served.load(out, Inference(int8=True), runtime="onnxruntime")
    monkeypatch.setattr(runtimes, "find_spec", lambda name: None)
    assert Served.load(out).runtime == "torch" and not capsys.readouterr().err
    weights = load_file(out / "model.safetensors")
    name, tensor = next(iter(weights.items()))
    save_file({**weights, name: 1.1 * tensor}, out / "model.safetensors", {"format": "pt"})
    for runtime in there():
        with pytest.raises(UserError, match="differs from the weights beside it"):
            Served.load(out, runtime=runtime)
    monkeypatch.undo()
    (out / "onnx" / "model.onnx").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    assert Served.load(out).runtime == "torch"
    assert "cannot open" in capsys.readouterr().err
    for runtime in there():
        with pytest.raises(UserError, match="cannot open"):
            Served.load(out, runtime=runtime)


def test_groups_need_little_padding():
    lengths = sorted([3, 17, 1, 9, 30, 9, 38, 38, 60])
    groups = list(like_lengths(lengths))
    assert [i for first, last in groups for i in range(first, last)] == list(range(len(lengths)))
    for first, last in groups:
        some = lengths[first:last]
        assert max(some) * len(some) - sum(some) <= MOST_PADDING
    assert len(groups) < len(lengths)
