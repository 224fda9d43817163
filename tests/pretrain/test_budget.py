"""From a budget to a plan, and what becomes of the plan when the run is stopped and resumed."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import plainformer.pretrain.run
import plainformer.training.step_time
from plainformer.base import UserError
from plainformer.encoder import PRESETS, EncoderConfig
from plainformer.pretrain import PretrainConfig, pretrain
from plainformer.pretrain.budget import Budget
from plainformer.pretrain.data import MaskedBatches
from plainformer.pretrain.masking import Masking
from plainformer.pretrain.objectives import choose_objective
from plainformer.pretrain.plan import Candidate, make_plan, sizes, spoken, step_tokens, too_small
from plainformer.tokenizer import Tokenizer
from plainformer.training import TrainingConfig
from tests.pretrain import tiny
from tests.pretrain.test_run import assert_same_run

SMALLEST = "the smallest there is, though even it gets few tokens"
CONFIG = PretrainConfig(
    corpus=("x",), tokenizer=Path("t"), out=Path("o"), max_length=32, budget="1m"
)


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("90s", Budget(seconds=90)),
        ("30m", Budget(seconds=1800)),
        ("2.5h", Budget(seconds=9000)),
        (" 1D ", Budget(seconds=86_400)),
        ("1e17", Budget(flops=1e17)),
        ("3.5E+14", Budget(flops=3.5e14)),
        ("5000000", Budget(flops=5e6)),
    ],
)
def test_what_a_budget_says(text: str, budget: Budget) -> None:
    assert Budget.of(text) == budget


@pytest.mark.parametrize(
    "text",
    ["", "0", "0m", "30x", "m", "-5m", "1e999", "nan", "inf", "1.2.3h", "30mm", "1e-3"],
)
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(UserError, match=r"budget must be a time \(90s, 30m, 2h, 1d\) or a number"):
        replace(CONFIG, budget=text)


def test_what_is_left_open_is_filled_in_without_a_budget() -> None:
    filled = replace(CONFIG, budget=None).with_defaults()
    assert (filled.preset, filled.batch_tokens, filled.accumulate) == ("modern-tiny", 2048, 1)
    long = replace(filled, batch_tokens=0, max_length=4096).with_defaults()
    assert long.batch_tokens == 4096
    assert CONFIG.with_defaults() == CONFIG


@given(st.floats(1e3, 1e13), st.sampled_from([0.15, 0.3, 1.0]))
def test_steps_are_the_nearest_power_of_two(tokens: float, share: float) -> None:
    size, wanted = step_tokens(tokens, share), 0.29 * (share * tokens) ** 0.571 / share
    assert size.bit_count() == 1 and 2**-0.501 < size / wanted < 2**0.501


def test_a_family_is_ordered_by_size() -> None:
    for family, names in {
        None: ["modern-tiny", "modern-mini", "modern-small", "modern-medium", "modern-base"],
        "albert": ["albert-tiny", "albert-base"],
    }.items():
        found = sizes(replace(CONFIG, preset=family))
        assert [name for name in found if name in names] == names  # tests add presets
    assert sizes(replace(CONFIG, preset="bert-mini")) == ["bert-mini"]
    assert "electra-tiny" in sizes(replace(CONFIG, objective=("rtd",)))
    assert "bert-tiny" in sizes(replace(CONFIG, objective=("mlm", "sop")))
    with pytest.raises(UserError, match=r"unknown preset 'bart': choose one of "):
        sizes(replace(CONFIG, preset="bart"))


@pytest.fixture
def make(wordpiece: Tokenizer) -> Callable[[PretrainConfig], Candidate]:
    """Candidates on the toy language, of any preset, the smallest vocabulary."""
    shards = [tiny.shard(tiny.sentences(400), wordpiece)]

    def candidate(config: PretrainConfig) -> Candidate:
        assert config.preset is not None and config.budget is None
        shape = EncoderConfig.preset(
            config.preset, vocab_size=wordpiece.vocab_size, pad_token_id=wordpiece.pad_id
        )
        objective = choose_objective(config.objective)
        corrupt = objective.corrupt(Masking.of(wordpiece, ratio=0.4))
        text = objective.read(config, shards, wordpiece)
        batches = MaskedBatches(text, corrupt, config.batch_tokens, config.accumulate)
        model, loss = objective.build(config, shape), objective.loss(config, wordpiece)
        flops = partial(objective.flops, model, loss)
        return Candidate(config, model, loss, batches, flops, held_out=config.valid_tokens)

    return candidate


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """One that does a billion operations a second and no more; what was timed on it."""
    timed: list[str] = []

    def seconds(self: Candidate) -> float:
        timed.append(str(self.config.preset))
        return self.step[1] / 1e9

    monkeypatch.setattr(Candidate, "seconds", property(seconds))
    monkeypatch.setattr("plainformer.pretrain.plan.peak_flops", lambda *_: 1e9)
    return timed


@pytest.mark.parametrize(
    ("flops", "corpus", "preset", "why"),
    [
        ("1e10", 10**9, tiny.PRESET, SMALLEST),
        ("1e12", 10**9, tiny.PRESET, "for a larger one the budget is too small"),
        ("1e14", 10**9, "modern-tiny", "for a larger one the budget is too small"),
        ("1e14", 10**6, tiny.PRESET, "for a larger one 4 epochs are too little text"),
    ],
)
def test_the_size_is_the_largest_that_gets_its_tokens(
    flops: str, corpus: int, preset: str, why: str, make: Any, machine: list[str]
) -> None:
    plan = make_plan(replace(CONFIG, budget=flops), corpus, make)
    assert (plan.preset, plan.why) == (preset, why)
    shape = PRESETS[preset]
    layer = 4 * shape.hidden_size**2 + 3 * shape.hidden_size * shape.intermediate_size
    assert plan.weights == shape.num_hidden_layers * layer
    enough = min(plan.tokens, 4 * corpus) >= 20 * plan.weights
    assert enough == (why != SMALLEST)
    assert 0.98 * float(flops) < plan.flops <= float(flops)
    assert plan.epochs == pytest.approx(plan.tokens / corpus, rel=1e-3)
    assert plan.seconds - plan.evaluating == pytest.approx(plan.flops / 1e9)
    # The batch goes by the tokens, and the tokens fill it but for the ends of texts.
    step = plan.batch_tokens * plan.accumulate
    wanted = 0.29 * (0.15 * min(plan.tokens, 4 * corpus)) ** 0.571 / 0.15
    assert 0.5 < step / wanted < 2 and plan.batch_tokens <= 8192
    assert 0.3 * step < plan.tokens / plan.steps <= step  # the toy corpus is less than a step


def test_a_time_is_that_of_this_machine(make: Any, machine: list[str]) -> None:
    """A hundred thousand seconds of a billion operations are 1e14, less the evaluations."""
    plan = make_plan(replace(CONFIG, budget="100000s"), 10**9, make)
    assert plan.preset == "modern-tiny" and plan.flops == pytest.approx(1e14, rel=0.02)
    assert plan.seconds == pytest.approx(1e5, rel=0.01)
    assert set(machine) == {tiny.PRESET, "modern-tiny"}  # mini cannot do it even at the peak


def test_what_was_chosen_stays(make: Any, machine: list[str]) -> None:
    config = replace(CONFIG, budget="1e11", preset="modern-tiny", batch_tokens=512, accumulate=3)
    plan = make_plan(config, 10**9, make)
    assert (plan.preset, plan.batch_tokens, plan.accumulate) == ("modern-tiny", 512, 3)
    assert plan.why == "as you said"
    settled = plan.settle(config)
    assert settled.budget is None and settled.training.steps == plan.steps
    assert replace(settled, budget="1e11", training=config.training) == config


def test_a_budget_that_is_too_small(make: Any, machine: list[str]) -> None:
    for budget in ("1e3", "0.001s"):
        with pytest.raises(
            UserError, match=rf"a budget of {budget} is too small for planning, one step"
        ):
            make_plan(replace(CONFIG, budget=budget, preset="modern-tiny"), 10**6, make)


def test_a_budget_that_planning_uses_up_is_not_spent_again(
    make: Any, machine: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1100.0])
    monkeypatch.setattr("plainformer.pretrain.plan.time.monotonic", lambda: next(clock))
    config = replace(CONFIG, budget="1000s", preset="modern-tiny")
    with pytest.raises(UserError, match=r"too small .*: planning took 18\.3 minutes, "):
        make_plan(config, 10**6, make)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (1.0, "1 second"),
        (0.012, "0.012 seconds"),
        (1.5, "1.5 seconds"),
        (14, "14 seconds"),
        (912, "15.2 minutes"),
    ],
)
def test_what_a_step_takes_is_said_as_a_person_would(make: Any, seconds: float, said: str) -> None:
    config = replace(CONFIG, preset="modern-tiny", budget=None).with_defaults()
    assert f" a step takes {said} and " in too_small(config, make(config), seconds)


def test_a_model_that_does_not_fit_is_refused_or_passed_over(
    make: Any, machine: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plainformer.pretrain.plan.available_memory", lambda _: 1 << 26)
    with pytest.raises(UserError, match=r"modern-tiny on batches of .* at least .* GiB of memory"):
        make_plan(replace(CONFIG, budget="1e14", preset="modern-tiny"), 10**9, make)
    plan = make_plan(replace(CONFIG, budget="1e14"), 10**9, make)
    assert plan.preset == tiny.PRESET
    assert plan.why == "a larger one does not fit into 0.1 GiB of memory"


def test_memory_is_that_of_the_optimizer_and_of_a_shard(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def least(**settings: Any) -> int:
        training = replace(CONFIG.training, **settings)
        config = replace(CONFIG, preset="modern-tiny", budget=None, training=training)
        found: Candidate = make(config.with_defaults())
        return found.least_memory()

    model = make(replace(CONFIG, preset="modern-tiny", budget=None).with_defaults()).model
    parameters = sum(p.numel() for p in model.parameters())
    matrices = sum(p.numel() for block in model.blocks for p in block.parameters() if p.ndim == 2)
    adamw = least(optimizer="adamw")
    assert adamw - least(optimizer="muon") == 4 * matrices
    assert adamw - least(optimizer="sgd") == 4 * parameters
    assert adamw - least(optimizer="sgd", momentum=0.0) == 8 * parameters
    monkeypatch.setattr("plainformer.pretrain.plan.world_size", lambda: 4)
    assert least(optimizer="adamw") == adamw
    assert adamw - least(optimizer="adamw", parallel="fsdp") == 12 * parameters


def test_what_takes_too_long_is_refused_before_anything_is_timed(
    make: Any, machine: list[str]
) -> None:
    """BERT as published takes a step of 131,072 tokens: not in half a minute here."""
    config = replace(CONFIG, preset="modern-tiny", batch_tokens=8192, accumulate=160, budget="2s")
    with pytest.raises(UserError, match=r"takes at least [\d.]+ minutes .* smaller batches"):
        make_plan(config, 10**6, make)
    assert machine == []


def test_evaluations_and_planning_are_paid_for(make: Any, machine: list[str]) -> None:
    config = replace(CONFIG, budget="2000s", preset="modern-tiny", valid_tokens=20_000)
    config = replace(config, training=replace(config.training, eval_every=10))
    plan = make_plan(config, 10**9, make)
    assert plan.seconds + plan.planning == pytest.approx(2000, rel=0.03)
    step = (plan.seconds - plan.evaluating) / plan.steps
    tokens = plan.tokens / plan.steps
    assert plan.evaluating == pytest.approx(
        -(-plan.steps // 10) * 20_000 / tokens * step / 3, rel=1e-3
    )


def test_the_plan_is_shown(make: Any, machine: list[str]) -> None:
    from rich.console import Console

    console = Console(width=100, record=True, quiet=False)
    plan = make_plan(replace(CONFIG, budget="1e12"), 10**5, make)
    with console.capture() as capture:
        console.print(plan.table())
    said = capture.get()
    for part in (tiny.PRESET, "too little text", f"{plan.steps:,} of {plan.batch_tokens:,} tokens"):
        assert part in said
    assert f"{plan.epochs:.2g}: after 16 they teach little" in said and "1.00e+12" in said


def test_times_are_spoken() -> None:
    said = [spoken(seconds) for seconds in (1.02, 1.26, 12, 119, 318, 9000, 268_000)]
    assert said[:4] == ["1 second", "1.3 seconds", "12 seconds", "119 seconds"]
    assert said[4:] == ["5.3 minutes", "2.5 hours", "3.1 days"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> PretrainConfig:
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy.txt").write_text("\n".join(tiny.sentences(500)))
    tiny.make_tokenizer().save(folder / "tokenizer")
    return PretrainConfig(
        corpus=(str(folder / "toy.txt"),),
        tokenizer=folder / "tokenizer",
        out=folder / "run",
        max_length=32,
        valid_share=0.1,
        workers=1,
        budget="1e9",
        training=TrainingConfig(eval_every=0, checkpoint_every=0),
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plainformer.training.step_time, "SECONDS", 0.0)


def test_a_resumed_run_keeps_its_plan(
    config: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not resumed with another budget, nor with another preset than was planned."""
    config = replace(config, out=tmp_path / "run")

    def interrupted(*arguments: Any, **settings: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("plainformer.pretrain.run.train", interrupted)
        pretrain(config, quiet=True)
    saved = json.loads((config.out / "options.json").read_text())
    assert saved["preset"] == tiny.PRESET and saved["budget"] is None
    assert saved["batch_tokens"] >= 32 and saved["training"]["steps"] > 4
    with monkeypatch.context() as patch:
        patch.setattr("plainformer.pretrain.run.make_plan", pytest.fail)
        for budget in ("1h", "2e9"):
            with pytest.raises(UserError, match=f"started with budget=1e9, not {budget}"):
                pretrain(replace(config, resume=True, budget=budget), quiet=True)
        result = pretrain(replace(config, resume=True, budget="1000000000"), quiet=True)
        assert result.steps == saved["training"]["steps"]
        pretrain(replace(config, resume=True), quiet=True)
        with pytest.raises(UserError, match="preset=modern-speck, not modern-mini"):
            pretrain(replace(config, resume=True, preset="modern-mini"), quiet=True)
    assert json.loads((config.out / "options.json").read_text()) == saved


def test_a_run_that_was_begun_without_a_budget_has_none(
    config: PretrainConfig, tmp_path: Path
) -> None:
    training = replace(config.training, steps=2)
    plain = replace(config, out=tmp_path / "run", budget=None, preset=tiny.PRESET)
    pretrain(replace(plain, training=training), quiet=True)
    with pytest.raises(UserError, match="started with budget=None, not 1e9"):
        pretrain(replace(plain, budget="1e9", resume=True), quiet=True)


def test_accumulation_is_chosen_with_the_batch() -> None:
    with pytest.raises(UserError, match="budget chooses accumulate"):
        replace(CONFIG, accumulate=4)
    assert replace(CONFIG, accumulate=4, batch_tokens=64).accumulate == 4


def test_an_evaluation_is_of_what_is_held_out(
    config: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of `valid_tokens`, of which there may be fewer."""
    seen: list[int] = []
    plan = plainformer.pretrain.run.make_plan

    def watched(config: PretrainConfig, tokens: int, make: Any, *rest: Any) -> Any:
        seen.append(
            make(replace(config, budget=None, preset=tiny.PRESET, batch_tokens=64)).held_out
        )
        return plan(config, tokens, make, *rest)

    monkeypatch.setattr("plainformer.pretrain.run.make_plan", watched)
    pretrain(replace(config, out=tmp_path / "run", budget="3e8"), quiet=True)
    assert 100 < seen[0] < 1000 < config.valid_tokens


def test_planning_leaves_no_trace_in_what_is_learned(
    config: PretrainConfig, tmp_path: Path
) -> None:
    """The same options, given outright, make the same run."""
    planned = replace(config, out=tmp_path / "a", budget="3e8")
    result = pretrain(planned, quiet=True)
    saved = json.loads((planned.out / "options.json").read_text())
    assert result.seconds > 0
    plain = replace(
        config,
        out=tmp_path / "b",
        budget=None,
        preset=saved["preset"],
        batch_tokens=saved["batch_tokens"],
        accumulate=saved["accumulate"],
        training=replace(config.training, steps=result.steps),
    )
    pretrain(plain, quiet=True)
    assert_same_run(tmp_path / "a", tmp_path / "b")
