"""Maps of vectors: PCA against scikit-learn, groups that t-SNE keeps, and the files."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from plainformer.__main__ import main
from plainformer.base import UserError, write_text
from plainformer.explain.inside import labelled_texts, project
from plainformer.explain.inside.figures import as_numbers
from plainformer.explain.inside.neighbours import pooled_vectors
from plainformer.explain.inside.projection import tsne
from tests.explain.test_attribution import TOKENIZER, variants
from tests.pretrain import tiny


@pytest.fixture
def texts(tmp_path: Path) -> str:
    lines = [f"{text}\t{text.split()[2]}" for text in tiny.sentences(24)]
    write_text(tmp_path / "texts.tsv", "text\tlabel\n" + "\n".join(lines) + "\n")
    return str(tmp_path / "texts.tsv")


def test_pca_is_that_of_scikit_learn(texts: str) -> None:
    predictor = variants("sentence-embedding")[1].predictor
    shown = labelled_texts(predictor, texts, "test")
    assert shown[0].label == shown[0].text.split()[2]
    found = project(predictor, shown)
    theirs = PCA(2).fit(pooled_vectors(predictor, [one.example for one in shown]).astype(float))
    places = theirs.transform(pooled_vectors(predictor, [one.example for one in shown]))
    np.testing.assert_allclose(np.abs(found.pca), np.abs(places), atol=1e-5)
    np.testing.assert_allclose(found.explained, theirs.explained_variance_ratio_, atol=1e-6)


def test_labels_that_the_model_does_not_know_have_colours(texts: str) -> None:
    predictor = variants("classification")[1].predictor
    shown = labelled_texts(predictor, texts, "test")
    assert not {one.group for one in shown} & {*predictor.task.labels}
    assert len(project(predictor, shown[:6]).tsne) == 6


def test_groups_stay_together() -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(60) % 3
    x = rng.normal(size=(60, 8)) + 10 * np.eye(8)[groups]
    places = tsne(x)
    np.testing.assert_array_equal(places, tsne(x))
    distances = np.linalg.norm(places[:, None] - places[None], axis=-1) + 1e9 * np.eye(60)
    assert (groups[distances.argmin(1)] == groups).all()


def test_the_command(texts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A map of a model without a task, and its table, which another program reads."""
    torch.manual_seed(0)
    run = tiny.save_untrained(tmp_path / "base", "bert", TOKENIZER)
    out = tmp_path / "map.png"
    line = ["inspect", "map", str(run), "--data", texts, "--out", str(out)]
    assert main([*line, "--limit", "12"]) == 0
    assert "of the variance" in capsys.readouterr().out
    assert out.read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "map.tsv").open() as file:
        rows = list(csv.DictReader(file, dialect="excel-tab"))
    assert len(rows) == 12 and rows[0].keys() == {
        *("label", "pca1", "pca2", "tsne1", "tsne2", "text")
    }
    assert all(row["label"] == row["text"].split()[2] for row in rows)
    for options, fault in [
        (["--out", str(tmp_path / "texts.png")], "texts.tsv"),
        (["--limit", "4"], "at least 5 texts"),
        (["--columns", "text=words"], "no column 'words'"),
        (["--out", "map"], "must end in .png"),
    ]:
        assert main([*line, *options]) == 2
        assert fault in capsys.readouterr().err


def test_alike_vectors_are_no_map(texts: str) -> None:
    predictor = variants("sentence-embedding")[1].predictor
    one = labelled_texts(predictor, texts, "test")[0]
    with pytest.raises(UserError, match="are the same"):
        project(predictor, [one] * 8)


def test_numbers_have_a_scale() -> None:
    many = [str(n / 4) for n in range(20)]
    np.testing.assert_allclose(as_numbers(many), np.arange(20) / 4)
    assert as_numbers(many[:3]) is None and as_numbers([*many, "high"]) is None
