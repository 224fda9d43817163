"""Weights in fewer bits: a folder reloads to the same numbers, and `transformers` is not misled."""

import copy
import shutil

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from plainformer.base import UserError
from plainformer.encoder import Encoder, MaskedLM, prepack_weights, quantize_int8
from plainformer.encoder.int8 import is_int8, refuse_int8
from plainformer.encoder.ops.int8 import to_int8
from plainformer.encoder.weights.save import save
from plainformer.encoder.weights.storage import Storage
from tests.encoder.families import OURS, inputs, pair, their_class, transformers
from tests.encoder.tools import bert, modern, padded, randomise


def same(one, other, batch) -> None:
    with torch.no_grad():
        for x, y in zip(outputs(one, batch), outputs(other, batch), strict=True):
            assert torch.equal(x, y)


def outputs(model, batch):
    found = model(**batch)
    return found if isinstance(found, tuple) else (getattr(found, "last_hidden_state", found),)


@pytest.mark.parametrize("family", ["albert", "mpnet", "modernbert"])
def test_int8_is_saved_and_loaded_bit_for_bit(family, tmp_path):
    _, ours = pair(family, "SequenceClassifier", tmp_path / "whole")
    rounded = quantize_int8(copy.deepcopy(ours))
    # A scale that would change if its products were rounded anew; the file's is obeyed.
    scales = 1 + torch.arange(2**20) / 2**20
    scale = scales[(scales * 127) / 127 != scales][0]
    rounded.base.blocks[0].attention.output.scale[0] = scale
    rounded.save_pretrained(tmp_path / "int8")
    loaded = OURS["SequenceClassifier"].from_pretrained(tmp_path / "int8")
    assert is_int8(loaded)
    same(loaded, rounded, inputs(family))
    state, expected = loaded.state_dict(), rounded.state_dict()
    assert state.keys() == expected.keys()
    assert all(state[n].dtype == t.dtype and state[n].equal(t) for n, t in expected.items())
    same(prepack_weights(loaded), rounded, inputs(family))
    loaded.save_pretrained(tmp_path / "again")
    again = load_file(tmp_path / "again" / "model_int8.safetensors")
    written = load_file(tmp_path / "int8" / "model_int8.safetensors")
    assert all(again[n].equal(t) for n, t in written.items())


@pytest.mark.parametrize(
    "config", [bert(), modern(), bert(norm="rms_norm"), bert(embedding_size=8)]
)
def test_weights_alone_in_int8(config, tmp_path):
    """The loaded model is the one whose matrices are s · round(W / s)."""
    model = randomise(MaskedLM(config)).eval()
    save(model, tmp_path / "int8", Storage(int8=True))
    loaded = MaskedLM.from_pretrained(tmp_path / "int8")
    for name, weight in model.state_dict().items():
        if weight.dim() == 2 and name.startswith(("encoder.blocks", "encoder.embeddings")):
            numbers, scale = to_int8(weight)
            weight.copy_(numbers * scale)
    same(loaded, model, padded([5, 9]))
    sizes = [
        sum(path.stat().st_size for path in (tmp_path / "int8").glob("*.safetensors")),
        sum(4 * p.numel() for p in model.parameters()),
    ]
    assert sizes[0] < 0.6 * sizes[1]
    loaded(**padded([5, 9])).sum().backward()  # it can be trained


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_sixteen_bits(family, name, dtype, tmp_path):
    """The loaded model is the rounded one, here and in transformers; computed in float32."""
    _, ours = pair(family, "SequenceClassifier", tmp_path / "whole")
    save(ours, tmp_path / name, Storage(weights=name))
    loaded = OURS["SequenceClassifier"].from_pretrained(tmp_path / name)
    for parameter in ours.parameters():
        parameter.data = parameter.data.to(dtype).float()
    same(loaded, ours, inputs(family))
    kind = their_class(family, "SequenceClassifier")
    theirs = kind.from_pretrained(tmp_path / name, dtype=torch.float32).eval()
    with torch.no_grad():
        found = theirs(**inputs(family)).logits
    assert_close(found, loaded(**inputs(family)), rtol=1e-5, atol=1e-5)
    assert transformers.AutoConfig.from_pretrained(tmp_path / name).dtype == dtype


def test_int8_and_sixteen_bits_combine(tmp_path):
    rounded = quantize_int8(randomise(Encoder(bert())))
    save(rounded, tmp_path / "both", Storage(weights="bf16"))
    state, loaded = rounded.state_dict(), Encoder.from_pretrained(tmp_path / "both").state_dict()
    for name, tensor in state.items():
        exact = not tensor.is_floating_point() or name.endswith(".scale")
        assert loaded[name].equal(tensor if exact else tensor.bfloat16().float()), name


def test_transformers_refuses_int8(tmp_path):
    quantize_int8(randomise(Encoder(bert()))).save_pretrained(tmp_path / "dynamic")
    save(randomise(Encoder(bert())), tmp_path / "float", Storage(int8=True))
    for folder in ("dynamic", "float"):
        for kind in (transformers.AutoModel, transformers.BertModel):
            with pytest.raises(OSError, match=r"no file named model\.safetensors"):
                kind.from_pretrained(tmp_path / folder)


@pytest.mark.parametrize("says", ["int8", "float"])
def test_weights_of_another_config_are_refused(says, tmp_path):
    model = randomise(Encoder(bert()))
    save(model, tmp_path / "whole")
    int8 = Storage(int8=True) if says == "float" else Storage()
    save(quantize_int8(model) if says == "int8" else model, tmp_path / "small", int8)
    weights, fewer = "model.safetensors", "model_int8.safetensors"
    whole, small = tmp_path / "whole", tmp_path / "small"
    shutil.copy(whole / weights, small / weights)
    with pytest.raises(UserError, match=r"model\.safetensors is not: .* remove model\.safetensors"):
        Encoder.from_pretrained(small)
    shutil.move(small / fewer, whole / fewer)
    with pytest.raises(UserError, match=r"model\.safetensors is not: .* save the model anew"):
        Encoder.from_pretrained(small)
    Encoder.from_pretrained(whole)  # its own file comes first
    (whole / weights).unlink()
    with pytest.raises(
        UserError, match=r"model_int8\.safetensors is in int8, and config\.json says nothing"
    ):
        Encoder.from_pretrained(whole)


def test_what_is_refused(tmp_path):
    model = randomise(Encoder(bert()))
    model.embeddings.tokens.weight.data[3, 3] = 1e6
    with pytest.raises(UserError, match=r"embeddings\.tokens\.weight holds numbers too large"):
        save(model, tmp_path / "fp16", Storage(weights="fp16"))
    rounded = quantize_int8(model)
    with pytest.raises(UserError, match="in int8 already"):
        save(rounded, tmp_path / "twice", Storage(int8=True))
    assert not (tmp_path / "twice" / "config.json").exists()
    with pytest.raises(UserError, match="in int8 cannot be trained"):
        refuse_int8(rounded)
