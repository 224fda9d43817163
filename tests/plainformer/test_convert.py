from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from plainformer.__main__ import main
from plainformer.encoder import Encoder
from tests.encoder.tools import bert, randomise


def test_convert_and_its_errors(tmp_path: Path, capsys: Any) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    model = randomise(Encoder(bert()))
    model.save_pretrained(old)
    assert main(["convert", str(old), "--out", str(new)]) == 2
    error = capsys.readouterr().err
    assert "holds safetensors already" in error
    assert error.count("\n") == 1
    torch.save(load_file(old / "model.safetensors"), old / "pytorch_model.bin")
    assert main(["convert", str(old), "--out", str(new)]) == 0
    assert "tensors, and the files beside them, are in" in capsys.readouterr().out
    again = Encoder.from_pretrained(new)
    assert all(map(torch.equal, model.parameters(), again.parameters()))
