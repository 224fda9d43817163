"""Folders of sentence-transformers: what they declare is obeyed, written again, or refused by name.

Each case is held against `SentenceTransformer` itself: the vectors of the folder as it gives them,
and those of what is written here.
"""

import json
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from plainformer.base import UserError
from plainformer.encoder import Encoder, SentenceEncoder, Sequences
from plainformer.encoder.heads.sentence import pool_all
from plainformer.encoder.weights.convert import convert
from plainformer.encoder.weights.sentence import read_layout
from plainformer.encoder.weights.sentence_layout import Dense, Normalize, SentenceLayout
from plainformer.finetune import (
    Embedder,
    FinetuneConfig,
    Predictor,
    SentenceEmbeddingOptions,
    evaluate_folder,
    finetune,
)
from plainformer.finetune.task_file import load_task
from plainformer.tokenizer import Tokenizer, train_tokenizer
from plainformer.training import LoopConfig
from tests.encoder.families import CONFIGS, FAMILY, their_class
from tests.encoder.tools import bert, randomise
from tests.finetune.conftest import config_of
from tests.pretrain import tiny

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    sentence_transformers = pytest.importorskip("sentence_transformers")

TEXTS = [
    "the encoder reads",
    "x",
    "From left to right, and back again while Tokens travel packed",
    "a [SEP] in the middle, Then Σ and ΟΔΟΣ",
    "tokens travel packed",
]
SIZE = 16
FOUR = ("Transformer", "Pooling", "Dense", "Normalize")
MODULE = "sentence_transformers.models."
FLAGS = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")

Files = Mapping[str, Any]
"""path in the folder → JSON, or the tensors of a Dense"""


def modules(*kinds: str, first: str = "") -> list[dict[str, Any]]:
    paths = [first, *(f"{n}_{kind}" for n, kind in enumerate(kinds) if n)]
    return [
        {"idx": n, "name": str(n), "path": path, "type": MODULE + kind}
        for n, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]


def pooled(*kinds: str, **settings: Any) -> dict[str, Any]:
    """A folder with a Pooling of these settings, and these modules after it."""
    return {
        "modules.json": modules("Transformer", "Pooling", *kinds),
        "1_Pooling/config.json": {"word_embedding_dimension": SIZE, **settings},
    }


def mode(*modes: str) -> dict[str, Any]:
    return {"pooling_mode": modes[0] if len(modes) == 1 else list(modes)}


def old(*flags: str) -> dict[str, Any]:
    """The keys before version 6; weightedmean and lasttoken were not there at first."""
    return {f"pooling_mode_{flag}": flag in flags for flag in FLAGS}


def dense(into: int, out: int, at: str = "2_Dense", **settings: Any) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(out)
    bias, residual = settings.get("bias", True), settings.get("use_residual", False)
    tensors = {"linear.weight": torch.randn(out, into, generator=generator) / 4}
    tensors |= {"linear.bias": torch.randn(out, generator=generator)} if bias else {}
    if residual and into != out:
        tensors["residual.weight"] = torch.randn(out, into, generator=generator) / 4
    config = {"in_features": into, "out_features": out, "bias": bias, **settings}
    return {f"{at}/config.json": config, f"{at}/model.safetensors": tensors}


def torch_name(activation: str) -> dict[str, str]:
    kind = "linear" if activation == "Identity" else "activation"
    return {"activation_function": f"torch.nn.modules.{kind}.{activation}"}


def reader(**settings: Any) -> dict[str, Any]:
    return {"sentence_bert_config.json": settings}


def prompts(default: str | None = None, **more: Any) -> dict[str, Any]:
    given = {"query": "a question: ", "passage": "passage:", "long": "from left to right "}
    settings = {"prompts": given, "default_prompt_name": default, **more}
    return {"config_sentence_transformers.json": settings}


MEAN = pooled("Normalize", **mode("mean"))
BARE = pooled(**mode("mean"))
TO_8 = dense(SIZE, 8)
CASES: dict[str, Files] = {
    "cls": pooled("Normalize", **mode("cls")),
    "max": pooled("Normalize", **mode("max")),
    "mean": MEAN,
    "sqrt": pooled("Normalize", **mode("mean_sqrt_len_tokens")),
    "weighted": pooled("Normalize", **mode("weightedmean")),
    "last": pooled("Normalize", **mode("lasttoken")),
    "bare cls": pooled(**mode("cls")),
    "bare max": pooled(**mode("max")),
    "bare mean": BARE,
    "bare sqrt": pooled(**mode("mean_sqrt_len_tokens")),
    "two": pooled(**mode("cls", "mean")),
    "two, the other way": pooled("Normalize", **mode("mean", "cls")),
    "three": pooled(**mode("max", "mean", "mean_sqrt_len_tokens")),
    "all, in no order": pooled(
        **mode("lasttoken", "weightedmean", "mean", "max", "mean_sqrt_len_tokens", "cls")
    ),
    "one in a list": pooled(pooling_mode=["max"]),
    "one twice": pooled(**mode("cls", "cls")),
    "no mode": pooled(),
    "old cls": pooled("Normalize", **old("cls_token")),
    "old max": pooled(**old("max_tokens")),
    "old mean": pooled(**old("mean_tokens")),
    "old sqrt": pooled(**old("mean_sqrt_len_tokens")),
    "old two": pooled(**old("mean_tokens", "cls_token")),
    "old three": pooled(**old("mean_sqrt_len_tokens", "max_tokens", "mean_tokens")),
    "old none": pooled(**old()),
    "old, of later versions": pooled(
        **old("cls_token"), pooling_mode_weightedmean_tokens=True, pooling_mode_lasttoken=True
    ),
    "old and new": pooled(**old("cls_token"), **mode("max")),
    "new name of the size": {**BARE, "1_Pooling/config.json": {"embedding_dimension": SIZE}},
    "new names of modules": {
        **BARE,
        "modules.json": [
            {**module, "type": f"sentence_transformers.{path}"}
            for module, path in zip(
                modules("Transformer", "Pooling"),
                (
                    "base.modules.transformer.Transformer",
                    "sentence_transformer.modules.pooling.Pooling",
                ),
                strict=True,
            )
        ],
    },
    "dense": pooled("Dense", **mode("mean")) | TO_8,
    "dense without bias": pooled("Dense") | dense(SIZE, 8, bias=False),
    "dense, normalised": pooled("Dense", "Normalize") | TO_8,
    "normalised, dense": pooled("Normalize", "Dense") | dense(SIZE, 8, "3_Dense"),
    "dense on two": pooled("Dense", **mode("cls", "max")) | dense(2 * SIZE, 24),
    "two dense": pooled("Dense", "Dense")
    | dense(SIZE, 8, **torch_name("ReLU"))
    | dense(8, 12, "3_Dense", **torch_name("Identity")),
    "residual": pooled("Dense") | dense(SIZE, SIZE, use_residual=True),
    "residual, projected": pooled("Dense") | dense(SIZE, 8, use_residual=True),
    **{
        name: pooled("Dense") | dense(SIZE, 8, **torch_name(name))
        for name in ("Tanh", "Identity", "ReLU", "GELU", "Sigmoid", "SiLU")
    },
    "short name of torch": pooled("Dense") | dense(SIZE, 8, activation_function="torch.nn.ReLU"),
    "names of inputs": pooled("Dense")
    | dense(
        SIZE, 8, module_input_name="sentence_embedding", module_output_name="sentence_embedding"
    ),
    "cut at 8": MEAN | reader(max_seq_length=8, do_lower_case=False),
    "cut at 30, more than the tokenizer says": MEAN | reader(max_seq_length=30),
    "cut at 99, more than the model has positions": MEAN | reader(max_seq_length=99),
    "cut where the tokenizer says": MEAN | reader(max_seq_length=None),
    "cut, in another file": MEAN | {"sentence_roberta_config.json": {"max_seq_length": 7}},
    "cut, in both files": MEAN
    | reader(max_seq_length=9)
    | {"sentence_roberta_config.json": {"max_seq_length": 7}},
    "lower case": MEAN | reader(do_lower_case=True),
    "lower case, and a prompt": MEAN
    | reader(do_lower_case=True, max_seq_length=12)
    | prompts("passage"),
    "as 6.2 writes it": MEAN
    | reader(
        transformer_task="feature-extraction",
        modality_config={"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
        module_output_name="token_embeddings",
    ),
    "prompts that none asks for": MEAN | prompts(),
    "a default prompt": MEAN | prompts("passage"),
    "a default prompt, and cls": pooled(**mode("cls")) | prompts("query"),
    "a default prompt that is empty": MEAN | prompts("document"),
    **{
        f"a prompt that is not pooled: {name}": pooled(**mode(name), include_prompt=False)
        | prompts("query")
        for name in ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
    },
    "no prompt where none is pooled": pooled(**mode("max", "mean"), include_prompt=False),
    "the first numbers": pooled("Dense", "Normalize") | TO_8 | prompts(truncate_dim=5),
    "more numbers than there are": MEAN | prompts(truncate_dim=99),
    "another similarity": pooled(**mode("cls")) | prompts(similarity_fn_name="dot"),
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """It keeps case, and takes 25 tokens."""
    tokenizer = train_tokenizer(
        [*[*TEXTS, "a question: passage"] * 20, *tiny.sentences(40)],
        vocab_size=200,
        lowercase=False,
    )
    tokenizer.max_length = 25
    return tokenizer


@pytest.fixture(scope="module")
def base(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder and its tokenizer, of which nothing more is declared."""
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer.save(folder)
    shape = bert(vocab_size=tokenizer.vocab_size, hidden_size=SIZE, num_hidden_layers=1)
    randomise(Encoder(shape)).save_pretrained(folder)
    return folder


@pytest.fixture
def make(base: Path, tmp_path: Path) -> Callable[..., Path]:
    """A folder with these files."""

    def make(files: Files, name: str = "declared", inside: str = "") -> Path:
        folder = tmp_path / name
        shutil.copytree(base, folder / inside)
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            if path.endswith(".safetensors"):
                save_file(content, folder / path)
            else:
                (folder / path).write_text(json.dumps(content))
        return folder

    return make


def theirs(folder: Path, texts: Any = TEXTS, **options: Any) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    vectors: np.ndarray = model.encode(texts, show_progress_bar=False, **options)
    return vectors


def close(ours: np.ndarray, other: np.ndarray) -> None:
    assert ours.dtype == np.float32
    scale = max(1, np.abs(other).max())
    np.testing.assert_allclose(ours, other, atol=1e-5 * scale)


@pytest.mark.parametrize("case", list(CASES))
def test_vectors_are_theirs_and_so_are_those_of_what_is_written(
    case: str, make: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make(CASES[case])
    wanted = theirs(folder)
    embedder = Embedder.load(folder)
    close(embedder(TEXTS), wanted)
    again = tmp_path / "again"
    SentenceEncoder.from_pretrained(folder).save_pretrained(again)
    embedder.tokenizer.save(again)
    close(theirs(again), wanted)
    close(Embedder.load(again)(TEXTS), wanted)


@FAMILY
def test_what_is_written_of_each_family_gives_the_same_vectors_there(
    family: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    cls = their_class(family, "Encoder")
    ids = {"vocab_size": tokenizer.vocab_size, "pad_token_id": 1 if family == "mpnet" else 0}
    randomise(cls(cls.config_class(**{**CONFIGS[family], **ids}))).save_pretrained(tmp_path / "a")
    layout = SentenceLayout(pooling=("max", "mean"), max_length=30)
    SentenceEncoder(Encoder.from_pretrained(tmp_path / "a"), layout).save_pretrained(tmp_path / "b")
    tokenizer.save(tmp_path / "b")
    close(Embedder.load(tmp_path / "b")(TEXTS), theirs(tmp_path / "b"))


def test_the_cases_differ(make: Callable[..., Path]) -> None:
    """Each file changes something: the vectors of the default are those of few."""
    names = ("mean", "cut at 8", "lower case", "a default prompt", "cls", "max", "bare sqrt")
    vectors = [theirs(make(CASES[name], name)) for name in names]
    for number, one in enumerate(vectors):
        assert all(np.abs(one - other).max() > 0.01 for other in vectors[:number])
    layout = read_layout(make(CASES["cut at 8"], "again"))
    assert layout is not None and layout.max_length == 8


def test_modules_in_folders_of_their_own(make: Callable[..., Path]) -> None:
    """As the first versions wrote them."""
    files = {**MEAN, "modules.json": modules("Transformer", "Pooling", first="0_Transformer")}
    folder = make(
        files | {"0_Transformer/sentence_bert_config.json": {"max_seq_length": 6}},
        inside="0_Transformer",
    )
    assert Embedder.load(folder).max_length == 6
    close(Embedder.load(folder)(TEXTS), theirs(folder))


@pytest.mark.parametrize("name", ["query", "passage", "document", ""])
@pytest.mark.parametrize("include", [True, False])
def test_a_prompt_by_name(name: str, include: bool, make: Callable[..., Path]) -> None:
    files = pooled(**mode("mean", "cls"), include_prompt=include) | prompts("long")
    folder = make(files)
    options = {"prompt_name": name} if name else {"prompt": ""}
    close(Embedder.load(folder, prompt=name)(TEXTS), theirs(folder, **options))


def test_a_pair_has_the_prompt_before_its_first_text(make: Callable[..., Path]) -> None:
    folder = make(MEAN | prompts("query") | reader(max_seq_length=20))
    pairs = [(TEXTS[0], TEXTS[2]), (TEXTS[2], TEXTS[4])]
    close(Embedder.load(folder)(pairs), theirs(folder, pairs))


def test_what_is_asked_for_takes_the_place_of_what_is_declared(make: Callable[..., Path]) -> None:
    folder = make(CASES["cls"] | reader(max_seq_length=8))
    bare = make(BARE, "bare")
    close(
        Embedder.load(folder, pooling="mean", normalise=False, max_length=25)(TEXTS), theirs(bare)
    )
    close(Embedder.load(bare, normalise=True)(TEXTS), theirs(make(MEAN, "mean")))
    with pytest.raises(
        UserError, match="a Dense layer expects vectors of size 32, but gets size 16 from max"
    ):
        Embedder.load(make(CASES["dense on two"], "dense"), pooling="max")
    with pytest.raises(
        UserError, match=r"no prompt 'x'; the model has: document, long, passage, q"
    ):
        Embedder.load(make(MEAN | prompts(), "prompts"), prompt="x")
    with pytest.raises(UserError, match=r"no prompt 'x'; the model has: none"):
        Embedder.load(make({}, "nothing"), prompt="x")
    apart = CASES["a prompt that is not pooled: mean"]
    settings = {"prompts": {"query": "rea"}, "default_prompt_name": "query"}
    merged = make(apart | {"config_sentence_transformers.json": settings}, "merged")
    with pytest.raises(UserError, match="text 2 has no tokens beside the prompt's"):
        Embedder.load(merged)(["reads", "d"])


REFUSED: list[tuple[Files, str]] = [
    ({"modules.json": {}}, r"modules\.json: not a JSON list"),
    ({"modules.json": []}, r"modules\.json: nothing is not supported: Transformer and Pooling"),
    ({"modules.json": modules("Transformer")}, "Transformer is not supported"),
    ({"modules.json": modules("Pooling", "Transformer")}, "Pooling, Transformer is not supported"),
    ({"modules.json": modules("StaticEmbedding", "Normalize")}, "'.*StaticEmbedding' is not"),
    ({"modules.json": modules("Transformer", "SpladePooling")}, "module 1: type '.*SpladePooling'"),
    ({"modules.json": modules("Transformer", "Pooling", "LSTM")}, "module 2: type '.*LSTM' is not"),
    ({"modules.json": modules("Transformer", "Pooling", "LayerNorm")}, "'.*LayerNorm' is not"),
    ({"modules.json": modules("Transformer", "Pooling", "Pooling")}, "a second Pooling is not"),
    ({"modules.json": [{"type": "mine.Transformer", "path": ""}]}, "'mine.Transformer' is not"),
    ({"modules.json": [{"path": ""}]}, "module 0: type is missing"),
    ({"modules.json": [{**modules("Transformer")[0], "path": "/etc"}]}, "leads out of the folder"),
    ({"modules.json": [{**modules("Transformer")[0], "path": "../x"}]}, "leads out of the folder"),
    (
        {"modules.json": modules("Transformer", "Pooling", first="0_Transformer")},
        "there is no folder '0_Transformer'",
    ),
    (pooled(**mode("median")), r"pooling_mode 'median' is not supported: cls, max, mean"),
    (pooled(**mode("cls", "first")), r"pooling_mode \['cls', 'first'\] is not supported"),
    (pooled(pooling_mode=3), "pooling_mode must be a text, not 3"),
    (pooled(pooling_mode_cls_token="yes"), "pooling_mode_cls_token must be true or false"),
    (pooled(pooling_mode_attention=True), "pooling_mode_attention is not supported"),
    (pooled(include_prompt=1), "include_prompt must be true or false"),
    (BARE | reader(max_seq_length="long"), "max_seq_length must be a whole number"),
    (BARE | reader(max_seq_length=0), "max_seq_length must be a whole number"),
    (BARE | reader(do_lower_case="no"), "do_lower_case must be true or false"),
    (BARE | reader(transformer_task="fill-mask"), "transformer_task 'fill-mask' is not supported"),
    (BARE | reader(module_output_name="sentence_embedding"), "module_output_name 'sentence_embed"),
    (BARE | reader(modality_config={"image": {}}), "modality_config .* is not supported"),
    (BARE | reader(processing_kwargs={"text": {"max_length": 5}}), "processing_kwargs .* is not"),
    (BARE | reader(query_length=32), "query_length 32 is not supported"),
    (BARE | reader(query_expansion={"length": 32}), "query_expansion .* is not supported"),
    (BARE | reader(model_args={"dtype": "float16"}), "model_args .* is not supported"),
    (BARE | reader(tokenizer_args={"do_lower_case": True}), "tokenizer_args .* is not supported"),
    (BARE | reader(window=5), "window is not supported"),
    (pooled("Normalize") | {"2_Normalize/config.json": {"module_input_name": "x"}}, "name 'x' is"),
    (pooled("Dense"), r"2_Dense/config\.json cannot be read"),
    (
        pooled("Dense") | dense(SIZE, 8, activation_function="mine.Act"),
        "'mine.Act' is not supported",
    ),
    (pooled("Dense") | dense(SIZE, 8, activation_function="torch.nn.Softmax"), "Softmax' is not"),
    (pooled("Dense") | dense(SIZE, 8, module_input_name="token_embeddings"), "'token_embeddings'"),
    (pooled("Dense") | dense(SIZE, 8, gate=True), "gate is not supported"),
    (pooled("Dense") | dense(SIZE, 8, in_features=None), "in_features is missing"),
    (pooled("Dense") | dense(24, 8), "a Dense layer expects vectors of size 24, but gets size 16"),
    (
        pooled("Dense")
        | dense(SIZE, 8)
        | {"2_Dense/config.json": {"in_features": SIZE, "out_features": 2**20}},
        r"linear.\w+ has dtype torch.float32 and shape .*, not numbers of shape \[1048576",
    ),
    (
        pooled("Dense")
        | dense(SIZE, 8)
        | {"2_Dense/model.safetensors": {"linear.weight": torch.ones(8, SIZE)}},
        "linear.bias is missing",
    ),
    (
        pooled("Dense")
        | dense(SIZE, 8, bias=False)
        | {
            "2_Dense/config.json": dense(SIZE, 8, bias=False, use_residual=True)[
                "2_Dense/config.json"
            ]
        },
        "residual.weight is missing",
    ),
    (BARE | prompts("nothing"), "default_prompt_name 'nothing' is not among the prompts"),
    (BARE | prompts(similarity_fn_name="maxsim"), "similarity_fn_name must be one of cosine, dot"),
    (BARE | prompts(truncate_dim=0), "truncate_dim must be a whole number"),
    (BARE | prompts(model_type="CrossEncoder"), "model_type 'CrossEncoder' is not supported"),
    (BARE | {"config_sentence_transformers.json": {"prompts": {"q": 3}}}, "prompts: q must be a t"),
]


@pytest.mark.parametrize(("files", "fault"), REFUSED, ids=[fault for _, fault in REFUSED])
def test_what_is_not_supported_is_refused_by_name(
    files: Files, fault: str, make: Callable[..., Path]
) -> None:
    folder = make(files)
    with pytest.raises(UserError, match=fault) as caught:
        Embedder.load(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def pairs(count: int, seed: int) -> list[dict[str, Any]]:
    texts = tiny.sentences(2 * count, seed)
    return [
        {"text": a, "pair": b, "score": n % 4}
        for n, (a, b) in enumerate(zip(texts[:count], texts[count:], strict=True))
    ]


LEARNED: dict[str, tuple[Files, dict[str, Any], dict[str, Any]]] = {
    "nothing declared": ({}, {"max_length": 20}, {"pooling": ("mean",), "max_length": 20}),
    "cls, cut at 8": (
        pooled("Normalize", **mode("cls")) | reader(max_seq_length=8),
        {},
        {"pooling": ("cls",), "max_length": 8},
    ),
    "cls and 8, but the mean and 12 are asked for": (
        pooled("Normalize", **mode("cls")) | reader(max_seq_length=8),
        {"pooling": "mean", "max_length": 12},
        {"pooling": ("mean",), "max_length": 12},
    ),
    "as long as the tokenizer says, and no length of 1": (
        BARE,
        {},
        {"layers": (), "max_length": 25},
    ),
    "a dense that is learned, too": (
        pooled("Dense", "Normalize", **mode("max", "mean")) | dense(2 * SIZE, 8),
        {},
        {"pooling": ("max", "mean"), "layers": (Dense(2 * SIZE, 8), Normalize())},
    ),
    "a default prompt, in lower case": (
        MEAN | reader(do_lower_case=True) | prompts("passage", truncate_dim=12),
        {},
        {"default_prompt": "passage", "lower_case": True, "truncate_dim": 12},
    ),
}


SLOW = ("nothing declared", "as long as the tokenizer says, and no length of 1")


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=[pytest.mark.slow] if c in SLOW else []) for c in LEARNED]
)
def test_a_run_begins_with_what_is_declared_and_leaves_it(
    case: str, make: Callable[..., Path], tmp_path: Path
) -> None:
    """What the run's folder declares; and the same vectors here, there and in `predict`."""
    files, options, expected = LEARNED[case]
    folder, out = make(files), tmp_path / "run"
    finetune(
        config_of(
            SentenceEmbeddingOptions,
            model=folder,
            train=write(tmp_path / "train.jsonl", pairs(8, 0)),
            valid=write(tmp_path / "valid.jsonl", pairs(4, 1)),
            out=out,
            epochs=1,
            batch_size=4,
            dropout=0.0,
            select=False,
            training=LoopConfig(learning_rate=1e-2, eval_every=0, checkpoint_every=0),
            **options,
        ),
        quiet=True,
    )
    layout = read_layout(out)
    assert layout is not None
    assert {name: getattr(layout, name) for name in expected} == expected
    wanted = theirs(out)
    close(Embedder.load(out)(TEXTS), wanted)
    predictor = Predictor.load(out)
    close(np.concatenate([said.vectors for said in predictor(TEXTS)]), wanted)
    before, after = (SentenceEncoder.from_pretrained(f).state_dict() for f in (folder, out))
    learned = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert {name for name in after if name.startswith("layers.")} <= learned
    assert "encoder.embeddings.tokens.weight" in learned


def test_what_cannot_be_learned_is_refused(make: Callable[..., Path], tmp_path: Path) -> None:
    file = write(tmp_path / "train.jsonl", pairs(8, 0))
    for name, files, fault in (
        ("dot", CASES["another similarity"], "similarity_fn_name 'dot' is not supported where"),
        ("prompt", CASES["a prompt that is not pooled: mean"], "include_prompt false is not"),
        ("long", BARE, "max_length 41 is more than the 40 positions of the model in"),
    ):
        with pytest.raises(UserError, match=fault):
            finetune(
                FinetuneConfig(
                    model=make(files, name),
                    train=file,
                    valid=file,
                    out=tmp_path / "run",
                    task=SentenceEmbeddingOptions(),
                    max_length=41 if name == "long" else 0,
                ),
                quiet=True,
            )
        assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_folder_from_elsewhere_predicts_and_is_evaluated(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    """Without a task.json it is a model of sentence vectors; a classifier stays one."""
    folder = make(CASES["cut at 8"] | prompts("passage"))
    said = Predictor.load(folder)(TEXTS)
    close(np.concatenate([one.vectors for one in said]), theirs(folder))
    rows = [{"text": text, "pair": text.title()} for text in TEXTS]
    scores = evaluate_folder(folder, write(tmp_path / "rows.jsonl", rows), quiet=True).metric
    assert scores.scores()["recall@5"] == 1
    file = write(tmp_path / "scored.jsonl", [row | {"score": n} for n, row in enumerate(rows)])
    with pytest.raises(UserError, match=r"scored\.jsonl:1: a score, but .* no scale .*epochs 0"):
        evaluate_folder(folder, file, quiet=True)
    out = tmp_path / "run"
    task = {"task": SentenceEmbeddingOptions(), "epochs": 0}
    finetune(FinetuneConfig(folder, file, out, valid=file, **task), quiet=True)
    close(np.concatenate([one.vectors for one in Predictor.load(out)(TEXTS)]), theirs(folder))
    assert "spearman" in evaluate_folder(out, file, quiet=True).metric.scores()
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["BertForSequenceClassification"]
    (folder / "config.json").write_text(json.dumps(config))
    assert type(load_task(folder)).__name__ == "Classification"


@pytest.mark.parametrize("first", ["", "0_Transformer"])
@pytest.mark.parametrize("whole", [True, False], ids=["a pickled Dense", "all pickled"])
def test_convert_takes_the_modules_along(
    first: str, whole: bool, make: Callable[..., Path], tmp_path: Path
) -> None:
    files = pooled("Dense", "Normalize", **mode("cls")) | dense(SIZE, 8, bias=False)
    files |= prompts("query") | {"modules.json": modules(*FOUR, first=first)}
    files |= {f"{first or '.'}/sentence_bert_config.json": {"max_seq_length": 9}}
    folder = make(files, inside=first)
    wanted = theirs(folder)
    shutil.copytree(folder, tmp_path / "pickled")
    for place in ("2_Dense",) if whole else ("2_Dense", first):
        path = tmp_path / "pickled" / place / "model.safetensors"
        torch.save(load_file(path), path.with_name("pytorch_model.bin"))
        path.unlink()
    with pytest.raises(UserError, match=r"2_Dense/model.safetensors is missing \(plainformer conv"):
        Embedder.load(tmp_path / "pickled")
    convert(tmp_path / "pickled", tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.bin"))
    close(Embedder.load(tmp_path / "out")(TEXTS), wanted)
    close(theirs(tmp_path / "out"), wanted)


@pytest.mark.parametrize(
    "name", ["cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
)
@pytest.mark.parametrize("skip", [0, 2])
def test_gradients_of_pooling_are_those_of_the_formula(name: Any, skip: int) -> None:
    lengths = [3, 5, 5, 9]
    x = torch.randn(sum(lengths), 6, dtype=torch.float64, requires_grad=True)
    got = pool_all(x, Sequences.of(lengths), [name], skip)
    rows = []
    for sequence in torch.split(x, lengths):
        some, places = sequence[skip:], torch.arange(1.0, len(sequence) + 1)[skip:, None].double()
        rows.append(
            {
                "cls": some[0],
                "lasttoken": some[-1],
                "max": some.max(0).values,
                "mean_sqrt_len_tokens": some.sum(0) / len(some) ** 0.5,
                "weightedmean": (some * places).sum(0) / places.sum(),
            }[name]
        )
    wanted = torch.stack(rows)
    torch.testing.assert_close(got, wanted)
    weight = torch.randn_like(wanted)
    mine, other = (torch.autograd.grad((y * weight).sum(), x)[0] for y in (got, wanted))
    torch.testing.assert_close(mine, other)
