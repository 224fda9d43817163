"""An exported program of torch gives the numbers of the packed model, on any lengths."""

import io
import zipfile

import pytest
import torch

from plainformer.base import UserError
from plainformer.deploy import TorchModel, export_torch
from plainformer.deploy.export import export_folder
from plainformer.encoder import PairedMaskedLM, SentenceEncoder, quantize_int8
from plainformer.encoder.pretrained import PretrainedModel
from tests.deploy.ragged import assert_is_packed
from tests.encoder.families import CONFIGS, OURS, pair
from tests.encoder.tools import bert, padded, randomise

pytestmark = pytest.mark.usefixtures("tracing")


def check(model, path, bound: float = 1e-5) -> TorchModel:
    export_torch(model, path)
    exported = TorchModel(path, model.config)
    assert_is_packed(exported, model, bound)
    return exported


def test_exported_is_packed(tmp_path):
    model: PretrainedModel = randomise(PairedMaskedLM(bert(num_hidden_layers=1))).eval()
    exported = check(model, tmp_path / "model.pt2")
    assert exported.output_names == ["prediction_logits", "seq_relationship_logits"]
    assert exported.is_of_tokens == [True, False]


def test_the_file_needs_torch_alone(tmp_path):
    """It is read with padded inputs; of pickles it holds one, of plain tensors."""
    model, path = (
        randomise(SentenceEncoder(bert(num_hidden_layers=1))).eval(),
        tmp_path / "model.pt2",
    )
    export_torch(model, path)
    batch = padded([5, 1, 9])
    program = torch.export.load(path).module()
    _, vectors = program(**batch)
    with torch.no_grad():
        expected = model(**batch)
    torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=0)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    pickles = [name for name, content in files.items() if content[:2] == b"PK"]
    assert len(pickles) == 1
    assert not any(content[:1] == b"\x80" for content in files.values())
    torch.load(io.BytesIO(files[pickles[0]]), weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("head", list(OURS))
@pytest.mark.parametrize("family", list(CONFIGS))
def test_every_family_and_head(family, head, tmp_path):
    _, ours = pair(family, head, tmp_path)
    check(ours, tmp_path / "model.pt2")


def test_a_folder(models, tmp_path):
    whole, exported = export_folder(models["bert"], tmp_path / "out", format="torch")
    assert whole.difference is None
    assert exported.difference <= 1e-5
    assert (tmp_path / "out" / "torch" / "model.pt2").exists()
    with pytest.raises(UserError, match="an int8 model cannot be exported"):
        export_torch(quantize_int8(randomise(OURS["Encoder"](bert()))), tmp_path / "model.pt2")
