"""The way through a GPU, without one: tensors have shapes and no numbers.

A build of torch for the CPU alone has no such tensors of CUDA; then they are the CPU's. "meta"
stands for the GPUs of others (MPS, XPU).
"""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import varlen

from plainformer.encoder import MaskedLM, Sequences
from tests.encoder.tools import bert, modern

CUDA = "cuda" if torch.backends.cuda.is_built() else "cpu"


@pytest.mark.parametrize(
    ("device", "major", "is_varlen"),
    [(CUDA, 8, CUDA == "cuda"), (CUDA, 7, False), ("meta", 0, False)],
)
@pytest.mark.parametrize("config", [bert(), modern()])
def test_no_number_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, config, device: str, major: int, is_varlen: bool
) -> None:
    """To read one would stop the host until the GPU has caught up; here it raises an error."""
    calls: list[torch.dtype] = []
    attend = varlen.varlen_attn

    def watched(query: torch.Tensor, *rest: Any, **settings: Any) -> Any:
        calls.append(query.dtype)
        return attend(query, *rest, **settings)

    monkeypatch.setattr(varlen, "varlen_attn", watched)
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
    assert logits.device.type == device and logits.shape == (3, config.vocab_size)
    assert calls == [torch.bfloat16] * (config.num_hidden_layers if is_varlen else 0)
