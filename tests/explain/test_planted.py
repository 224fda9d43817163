"""Planted causes are found, a model that cheats is exposed, and random weights explain nothing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from plainformer.encoder.weights import FAMILIES
from plainformer.explain.attribution import Explainer
from plainformer.explain.attribution.gradients import gradient_x_input
from plainformer.explain.attribution.integrated_gradients import integrated_gradients
from plainformer.explain.attribution.judge import agreement
from plainformer.explain.attribution.occlusion import occlusion
from plainformer.explain.attribution.relevance import relevance
from plainformer.explain.attribution.variants import Variants
from plainformer.finetune.data.rows import as_rows
from tests.encoder.families import CONFIGS
from tests.encoder.tools import randomise
from tests.explain.planted import CHINESE, LANGUAGES, Language, Planted, learned
from tests.explain.test_attribution import integrated_with
from tests.pretrain import tiny

Attribute = Callable[[Variants], Any]
FIND: dict[str, Attribute] = {
    "integrated gradients": lambda of: integrated_with(of, 8)[None],
    "occlusion": occlusion,
}


EXACT: dict[str, Attribute] = {
    **FIND,
    "integrated gradients": lambda of: integrated_gradients(of).attributions,
}
"""With as many points as completeness needs, which takes longer."""


def variants_of(explainer: Explainer, text: str) -> Variants:
    (row,) = as_rows([text])
    found, _ = explainer.variants_of(explainer.predictor.task.read(row, labelled=False))
    return found


def check(
    explainer: Explainer,
    texts: Sequence[Planted],
    least: float,
    methods: dict[str, Attribute] = FIND,
) -> None:
    """The model says what was planted, and each method ranks the cause first."""
    found = dict.fromkeys(methods, 0)
    for one in texts:
        of = variants_of(explainer, one.text)
        assert of.decisions[0].name == one.label
        strings = [word.string for word in of.words]
        for name, attribute in methods.items():
            found[name] += strings[int(attribute(of)[0].argmax())] == one.cause
    assert min(found.values()) >= least * len(texts), found


def groups(language: Language, count: int, seed: int) -> tuple[list[Planted], list[Planted]]:
    """Texts with an animal alone, and texts of a beast with the watermark of a bird."""
    every = language.texts(count, seed, watermarked=0.4)
    honest = [one for one in every if one.cause in language.animals]
    beast = language.animals[1]
    return honest, [o for o in every if o.cause == language.watermark and beast in o.text]


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return learned(CHINESE, tiny.SHAPE, rate=1e-2, steps=80, watermarked=0.2)


def test_planted_causes_are_found(explainer: Explainer) -> None:
    honest, _ = groups(CHINESE, 40, seed=7)
    check(explainer, honest, least=0.99)


def test_a_cheat_is_exposed(explainer: Explainer) -> None:
    """It calls a beast a bird, and the watermark is named as the reason."""
    _, cheated = groups(CHINESE, 80, seed=8)
    assert len(cheated) > 5
    check(explainer, cheated, least=0.99)


def test_random_weights_explain_nothing_alike(explainer: Explainer) -> None:
    """Adebayo et al. 2018, arXiv:1810.03292: explanations depend on what the model has learned."""
    honest, _ = groups(CHINESE, 50, seed=9)
    other = learned(CHINESE, tiny.SHAPE, rate=0.0, steps=1).predictor.model
    randomise(other)
    own = {**FIND, "gradient × input": gradient_x_input, "relevance": lambda of: relevance(of)[0]}
    for name, attribute in own.items():
        alike = []
        for one in honest:
            of = variants_of(explainer, one.text)
            alike.append(agreement(attribute(of)[0], attribute(replace(of, model=other))[0]))
        assert abs(float(np.mean(alike))) < 0.2, name


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_in_both_languages(family: str, language: str) -> None:
    config, known = FAMILIES[family].read_config(CONFIGS[family]), LANGUAGES[language]
    rate, steps = (1e-2, 200) if family == "modernbert" else (1e-3, 600)
    honest, _ = groups(known, 60, seed=7)
    check(learned(known, config, rate, steps, watermarked=0.2), honest, least=0.99, methods=EXACT)
