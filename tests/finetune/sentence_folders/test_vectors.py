"""What a folder declares is obeyed and written again: its vectors are sentence-transformers'."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from plainformer.base import UserError
from plainformer.encoder import Encoder, SentenceEncoder
from plainformer.encoder.weights.sentence import read_layout
from plainformer.encoder.weights.sentence_layout import SentenceLayout
from plainformer.finetune import Embedder
from plainformer.tokenizer import Tokenizer
from tests.encoder.families import CONFIGS, FAMILY, their_class
from tests.encoder.tools import randomise
from tests.finetune.sentence_folders.cases import CASES
from tests.finetune.sentence_folders.files import (
    BARE,
    MEAN,
    TEXTS,
    mode,
    modules,
    pooled,
    prompts,
    reader,
)
from tests.finetune.sentence_folders.reference import close, theirs


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
