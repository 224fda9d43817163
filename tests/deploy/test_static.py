"""Static vectors: their parts by formula, the whole by hand, the same numbers in other readers."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from plainformer.base import UserError
from plainformer.base.pca import principal_components
from plainformer.deploy.export import export_folder
from plainformer.deploy.static import distil_folder, sif_weights
from plainformer.deploy.static.vectors import ordinary_ids
from plainformer.encoder import Encoder, SentenceEncoder
from plainformer.encoder.static import StaticEncoder
from plainformer.finetune import Embedder, evaluate_folder
from plainformer.tokenizer import load_tokenizer
from tests.deploy.test_vocabulary import unigram
from tests.encoder.tools import randomise
from tests.pretrain import tiny

SIZE = 8
TEXTS = ["the red hen pecks the red corn .", "xq", "the fox", "hen [SEP] fox"]


def test_components_are_those_of_scikit_learn():
    from sklearn.decomposition import PCA

    x = torch.randn(40, 12, generator=torch.Generator().manual_seed(0)).cumsum(1) + 3
    for size in (1, 5, 12):
        ours = principal_components(x, size).numpy()
        theirs = PCA(size, svd_solver="full").fit_transform(x.double().numpy())
        signs = np.sign((ours * theirs).sum(0))
        np.testing.assert_allclose(ours, theirs * signs, atol=1e-9)
    with pytest.raises(UserError, match="40 vectors of 12 numbers have no 13 components"):
        principal_components(x, 13)


def test_weights_by_rank():
    total = 1 / 2 + 1 / 3 + 1 / 4
    wanted = [1e-4 / (1e-4 + 1 / rank / total) for rank in (2, 3, 4)]
    assert sif_weights(3).tolist() == pytest.approx(wanted, rel=1e-12)


def encoder(folder: Path, kind: str) -> Path:
    """A random encoder with a tokenizer of a kind; unigram: of a tokenizer.json."""
    if kind == "unigram":
        tokenizer = unigram(folder)
    else:
        tokenizer = tiny.make_tokenizer("unigram" if kind == "sentencepiece" else kind)
    config = tiny.shape("bert" if kind == "wordpiece" else "modern", tokenizer)
    randomise(Encoder(config)).save_pretrained(folder)
    tokenizer.save(folder)
    return folder


@torch.no_grad()
def by_hand(folder: Path, texts: Sequence[str]) -> np.ndarray:
    """The mean of each text's rows, from padded texts of one token each."""
    embedder = Embedder.load(folder, normalise=False)
    tokenizer = embedder.tokenizer
    ids = ordinary_ids(tokenizer)
    (first, _), *_, (last, _) = tokenizer.template.single
    states = embedder.model.encoder(torch.tensor([[first, id, last] for id in ids]))
    table = np.zeros((tokenizer.vocab_size, SIZE))
    components = principal_components(states.last_hidden_state.mean(1), SIZE)
    table[ids] = (sif_weights(len(ids))[:, None] * components).numpy()
    return np.stack([table[tokenizer.tokens(text).ids].mean(0) for text in texts])


@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "sentencepiece", "bpe"])
def test_vectors_here_by_hand_and_in_sentence_transformers(kind, tmp_path, monkeypatch):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder, out = encoder(tmp_path / "encoder", kind), tmp_path / "static"
    distil_folder(folder, out, SIZE)
    ours = Embedder.load(out)(TEXTS)
    means = by_hand(folder, TEXTS)
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(Embedder.load(out, normalise=False)(TEXTS), means, atol=1e-6)
    np.testing.assert_allclose(ours, means / lengths.clip(1e-12), atol=1e-5)
    theirs = sentence_transformers.SentenceTransformer(str(out), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    # Written again, it is the same.
    model = SentenceEncoder.from_pretrained(out)
    assert isinstance(model.encoder, StaticEncoder)
    model.save_pretrained(tmp_path / "again")
    for name in ("model.safetensors", "modules.json", "1_Normalize/config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()


def pairs(path: Path) -> str:
    """Pairs of sentences, and how many words they share."""
    one, other = tiny.sentences(40, 1), tiny.sentences(40, 2)
    lines = [
        f"{a}\t{b}\t{len(set(a.split()) & set(b.split()))}" for a, b in zip(one, other, strict=True)
    ]
    path.write_text("\n".join(["text\tpair\tscore", *lines]))
    return str(path)


def test_measured_kept_and_evaluated_again(models, tmp_path):
    data, out = pairs(tmp_path / "pairs.tsv"), tmp_path / "static"
    seen = []
    before, after = distil_folder(
        models["bert"], out, SIZE, data, tolerance=2, report=lambda both: seen.extend(both)
    )
    assert seen == [before, after]
    assert after.megabytes < before.megabytes
    assert evaluate_folder(out, data).metric.scores() == after.scores
    assert "plainformer static bert --size 8 --data pairs.tsv" in (out / "README.md").read_text()
    with pytest.raises(UserError, match=r"spearman fell from .* tolerance of 0: nothing is"):
        distil_folder(models["bert"], tmp_path / "worse", 1, data, tolerance=0)
    assert not (tmp_path / "worse").exists()


def test_served(models, tmp_path):
    pytest.importorskip("fastapi")
    from plainformer.deploy.server.served import Served

    distil_folder(models["bert"], tmp_path / "static", SIZE)
    served = Served.load(tmp_path / "static")
    vectors = np.concatenate(served.compute(served.read_texts(TEXTS)))
    np.testing.assert_allclose(vectors, Embedder.load(tmp_path / "static")(TEXTS), atol=1e-6)
    assert served.num_layers == 0


def test_a_vocabulary_of_a_text(models, tmp_path):
    """The rows are those of fewer tokens; the text is split as before."""
    texts = tmp_path / "texts.txt"
    texts.write_text("the red hen .\nthe fox eats .\n")
    distil_folder(models["bert"], tmp_path / "static", SIZE, vocabulary=[str(texts)])
    small, whole = load_tokenizer(tmp_path / "static"), load_tokenizer(models["bert"])
    assert small.vocab_size < whole.vocab_size
    for text in texts.read_text().splitlines():
        ids = small.encode(text).ids
        assert [small.token(i) for i in ids] == [whole.token(i) for i in whole.tokens(text).ids]
    assert len(
        SentenceEncoder.from_pretrained(tmp_path / "static").encoder.embeddings.tokens.weight
    )


def test_what_is_refused(models, tmp_path):
    static = tmp_path / "static"
    distil_folder(models["bert"], static, SIZE)
    with pytest.raises(UserError, match="holds static vectors already"):
        distil_folder(static, tmp_path / "out", SIZE)
    with pytest.raises(UserError, match="static vectors are"):
        export_folder(static, tmp_path / "out", format="torch")
    with pytest.raises(UserError, match="text 1 has no tokens"):
        Embedder.load(static)([" "])
    with pytest.raises(UserError, match="have no 33 components"):
        distil_folder(models["bert"], tmp_path / "out", 33)
    with pytest.raises(UserError, match=r"no config.json .but modules of sentence-transformers"):
        Encoder.from_pretrained(static)
    assert not (tmp_path / "out").exists()
    modules = json.loads((static / "modules.json").read_text())
    (static / "modules.json").write_text(json.dumps([*modules, modules[0]]))
    with pytest.raises(UserError, match="a second StaticEmbedding is not supported"):
        Embedder.load(static)
