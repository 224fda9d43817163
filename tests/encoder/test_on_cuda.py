"""The way through a GPU, without one: tensors have shapes and no numbers.

A build of torch for the CPU alone has no such tensors of CUDA; then they are the CPU's. "meta"
stands for the GPUs of others (MPS, XPU).
"""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from plainformer.encoder import AttentionMask, MaskedLM, Sequences, ops
from plainformer.encoder.ops import fused, varlen
from tests.encoder.tools import bert, modern

CUDA = "cuda" if torch.backends.cuda.is_built() else "cpu"

CONFIGS = {
    "bert": bert(),
    "modern": modern(),
    "dropout": bert(attention_dropout=0.1),
    "alibi": bert(positions="alibi"),
    "relative": bert(relative_bias=True, attention_dropout=0.1),
}


@pytest.mark.parametrize(
    ("device", "major", "is_varlen"),
    [(CUDA, 8, CUDA == "cuda"), (CUDA, 7, False), ("meta", 0, False)],
)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_no_number_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, config, device: str, major: int, is_varlen: bool
) -> None:
    """To read one would stop the host until the GPU has caught up; here it raises an error."""
    calls: list[torch.dtype] = []
    attend = varlen.attention

    def watched(query: torch.Tensor, *rest: Any) -> Any:
        calls.append(query.dtype)
        return attend(query, *rest)

    monkeypatch.setattr(varlen, "attention", watched)
    properties = SimpleNamespace(major=major)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    monkeypatch.setattr(torch.nn.init, "trunc_normal_", lambda x, **_: x)  # it reads what it drew
    sequences = Sequences.of([5, 5, 2])
    before = torch.get_default_dtype()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        torch.set_default_dtype(torch.bfloat16)
        try:
            with torch.device(device):
                model = MaskedLM(config)
        finally:
            torch.set_default_dtype(before)
        bounds, positions = map(mode.from_tensor, (sequences.cu_seqlens, sequences.positions))
        there = Sequences(sequences.lengths, bounds, positions).to(device)
        ids, at = (torch.ones(n, dtype=torch.long, device=device) for n in (12, 3))
        logits = model(ids, sequences=there, target_positions=at)
        loss = ops.cross_entropy(logits, at)
        if device != "cuda":  # torch's engine asks the driver of CUDA for its devices
            loss.backward()
            assert all(x.grad is not None for x in model.parameters())
    assert logits.device.type == device and logits.shape == (3, config.vocab_size)
    assert loss.shape == () and loss.grad_fn is not None
    is_varlen = is_varlen and config.positions != "alibi" and not config.relative_bias
    assert calls == [torch.bfloat16] * (config.num_hidden_layers if is_varlen else 0)


FORMS = [
    ("cuda", 9, torch.bfloat16, {}, "varlen"),
    ("cuda", 8, torch.float16, {"window": 2}, "varlen"),
    ("cuda", 9, torch.float32, {}, "padded"),
    ("cuda", 7, torch.float16, {}, "padded"),
    ("cuda", 9, torch.bfloat16, {"window": 2, "prefix": 1}, "padded"),
    ("cuda", 9, torch.bfloat16, {"bias": torch.zeros(2, 9)}, "padded"),
    ("meta", 0, torch.float16, {}, "padded"),
    ("cpu", 0, torch.bfloat16, {}, "runs"),
]


@pytest.mark.parametrize(("device", "major", "dtype", "kind", "form"), FORMS)
def test_the_form_of_attention(
    monkeypatch: pytest.MonkeyPatch, device: str, major: int, dtype: torch.dtype, kind, form: str
) -> None:
    """A build for the CPU alone has tensors of CUDA too, as long as none is indexed or copied."""
    properties = SimpleNamespace(major=major)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    with FakeTensorMode(allow_non_fake_inputs=True):
        bounds = torch.zeros(4, dtype=torch.int32, device=device)
        positions = torch.zeros(12, dtype=torch.long, device=device)
        sequences = Sequences((2, 5, 5), bounds, positions)
        q = torch.zeros(12, 2, 16, dtype=dtype, device=device)
        mask = AttentionMask(sequences, **kind)
        assert fused.attention_form(q, mask) == form
        if form == "varlen":
            for dropout in (0.0, 0.1):
                y = fused.attention(q, q, q, mask, dropout)
                assert (y.shape, y.dtype, y.device.type) == (q.shape, dtype, device)
