"""A new objective is one class and one line: this is the one that CONTRIBUTING.md shows."""

import json
from pathlib import Path

import numpy as np
import pytest

from plainformer.base import UserError
from plainformer.encoder import MaskedLM
from plainformer.pretrain import OBJECTIVES, MaskedBatch, Masking, PackedText, PretrainConfig
from plainformer.pretrain import pretrain as run
from plainformer.pretrain.batch import Corruption
from plainformer.pretrain.objectives import MaskedLMObjective
from plainformer.training import TrainingConfig
from tests.pretrain import markov, tiny


class RandomTokens(MaskedLMObjective):
    """Replace tokens by random ones and predict the originals: [MASK] is never seen."""

    name, unit, options = "random", "replaced token", frozenset({"mask_ratio"})

    def corrupt(self, masking: Masking) -> Corruption:
        def replace_tokens(text: PackedText, rng: np.random.Generator, step: int) -> MaskedBatch:
            chosen, _ = masking.choose(text.words, text.special, masking.ratio_at(step), rng)
            shown = text.ids.copy()
            shown[chosen] = rng.choice(masking.ordinary_ids, len(chosen))
            return text.with_targets(chosen, text.ids[chosen], shown)

        return replace_tokens


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OBJECTIVES, "random", RandomTokens())


def config(folder: Path, **changes: object) -> PretrainConfig:
    (folder / "toy.txt").write_text("\n".join(tiny.sentences(200)))
    tiny.make_tokenizer().save(folder / "tokenizer")
    settings = {
        "objective": ("random",),
        "preset": tiny.PRESET,
        "max_length": 32,
        "batch_tokens": 256,
        "mask_ratio": 0.3,
        "valid_share": 0.1,
        "workers": 1,
        "training": TrainingConfig(steps=60, learning_rate=1e-2, eval_every=30, device="cpu"),
    }
    return PretrainConfig(
        corpus=(str(folder / "toy.txt"),),
        tokenizer=folder / "tokenizer",
        out=folder / "run",
        **{**settings, **changes},
    )


@pytest.mark.usefixtures("registered")
def test_a_model_is_pretrained_with_it(tmp_path: Path) -> None:
    run(config(tmp_path), quiet=True)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open()]
    first, *_, last = [row["evaluation"] for row in rows if "evaluation" in row]
    assert set(last) == {"loss", "accuracy", "perplexity"}
    assert last["loss"] < first["loss"]
    assert MaskedLM.from_pretrained(tmp_path / "run").config.hidden_size == 32
    assert json.loads((tmp_path / "run" / "options.json").read_text())["objective"] == ["random"]


def test_tokens_are_replaced_and_never_masked() -> None:
    tokenizer = markov.make_tokenizer()
    letters = np.full(4000, markov.FIRST)
    text = PackedText(letters, np.arange(4000), letters < markov.FIRST, (4000,))
    corrupt = RandomTokens().corrupt(Masking.of(tokenizer, ratio=0.3))
    batch = corrupt(text, np.random.default_rng(0), 0)
    assert (batch.labels == markov.FIRST).all() and 1000 < len(batch.labels) < 1400
    changed = (batch.input_ids != markov.FIRST).nonzero().squeeze(1)
    assert set(changed.tolist()) <= set(batch.target_positions.tolist())
    assert len(changed) / len(batch.labels) == pytest.approx(1 - 1 / markov.LETTERS, abs=0.05)
    assert (batch.input_ids >= markov.FIRST).all()


@pytest.mark.usefixtures("registered")
def test_it_refuses_options_that_it_does_not_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="masking is an option of mlm, denoise, rtd, not of random"):
        config(tmp_path, masking="words")
    with pytest.raises(UserError, match=r"mask_ratio is an option of mlm, .*, random, not of clm"):
        config(tmp_path, objective=("clm",))


def test_without_its_line_it_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"objective must be one of mlm, clm, .*, not 'random'"):
        config(tmp_path)
