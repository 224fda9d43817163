"""Labels of any script: drawn with a font that has them, or named once as missing."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from plainformer.base import figures as style
from plainformer.finetune.report import figures


def test_a_character_that_no_font_has_is_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(style, "CJK_FONTS", ())
    monkeypatch.setattr(style, "_warned", set())
    for name in ("a.png", "b.png"):
        figure = figures.confusion_figure(["正面", "负面"], np.eye(2, dtype=np.int64), "名")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            style.save_png(figure, tmp_path / name)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert all(character in said[0] for character in "正面负名")
    assert "fonts-noto-cjk" in said[0]
    assert (tmp_path / "b.png").stat().st_size > 1000


def test_latin_labels_are_no_matter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = figures.confusion_figure(["good", "über"], np.eye(2, dtype=np.int64), "x")
    style.save_png(figure, tmp_path / "a.png")
    assert capsys.readouterr().err == ""
