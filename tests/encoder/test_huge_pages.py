"""Weights on large pages: the same numbers, and pages that the system counts as large."""

import re
from pathlib import Path

import pytest
import torch

from plainformer.encoder import Encoder, prepack_weights, use_huge_pages
from plainformer.encoder.prepack import PrepackedLinear
from tests.encoder.tools import bert, padded, randomise

SMAPS = Path("/proc/self/smaps")


def large_kilobytes(address: int) -> int:
    """Return the memory on large pages in the mapping that holds an address."""
    inside = False
    for line in SMAPS.read_text().splitlines():
        if bounds := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(bounds[1], 16) <= address < int(bounds[2], 16)
        elif inside and line.startswith("AnonHugePages:"):
            return int(line.split()[1])
    return 0


def test_nothing_changes_but_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plainformer.encoder.ops.prepacked.HAS_ONEDNN", True)
    model = randomise(Encoder(bert(hidden_size=512, intermediate_size=2048)))
    with torch.no_grad():
        prepack_weights(model)
        before = model(**padded([7, 3])).last_hidden_state
        use_huge_pages(model)
        assert model(**padded([7, 3])).last_hidden_state.equal(before)
    up = model.blocks[0].feed_forward.up
    assert isinstance(up, PrepackedLinear)
    found = large_kilobytes(torch.ops.mkldnn.data_ptr(up.weight)) if SMAPS.exists() else 0
    if not found:
        pytest.skip("this system has no pages of 2 MB to move to")
    assert found >= 2048


def test_a_model_without_prepacked_weights_stays_as_it_is() -> None:
    model = randomise(Encoder(bert()))
    before = {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
    use_huge_pages(model)
    assert before == {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
