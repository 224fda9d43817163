"""Attributions: against captum and by hand, on all tasks and families."""

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from plainformer.base import UserError
from plainformer.encoder import (
    ChoiceScorer,
    Encoder,
    MaskedLM,
    QuestionAnswerer,
    SentenceEncoder,
    SequenceClassifier,
    Sequences,
    TokenClassifier,
    quantize_int8,
)
from plainformer.encoder.static import StaticEncoder
from plainformer.encoder.weights import FAMILIES
from plainformer.encoder.weights.sentence_layout import SentenceLayout
from plainformer.explain.attribution import METHODS, Explainer
from plainformer.explain.attribution.decision import decisions_of, log_odds, tag_scores
from plainformer.explain.attribution.explainer import baseline_id
from plainformer.explain.attribution.integrated_gradients import (
    integrated_gradients,
    points,
    products_at,
    weights,
)
from plainformer.explain.attribution.judge import firsts, judge
from plainformer.explain.attribution.lime import lime
from plainformer.explain.attribution.occlusion import occlusion
from plainformer.explain.attribution.rollout import rollout
from plainformer.explain.attribution.shapley import kernel_shap
from plainformer.explain.attribution.variants import Variants
from plainformer.finetune import Predictor
from plainformer.finetune.data.batch import BATCH_TOKENS
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.classification import Classification
from plainformer.finetune.tasks.multi_label import MultiLabel
from plainformer.finetune.tasks.multiple_choice import MultipleChoice
from plainformer.finetune.tasks.prompt import Prompt
from plainformer.finetune.tasks.question_answering import QuestionAnswering
from plainformer.finetune.tasks.regression import Regression
from plainformer.finetune.tasks.relation import Relation
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding
from plainformer.finetune.tasks.tagging.sentences import Sentence, Tags
from plainformer.finetune.tasks.tagging.task import Tagging, WordScores
from plainformer.finetune.tasks.tagging.words import TaggedItem
from plainformer.finetune.tuning.soft_prompt import add_soft_prompt
from plainformer.tokenizer import train_tokenizer
from tests.encoder.families import CONFIGS
from tests.encoder.tools import randomise
from tests.pretrain import tiny

TOKENIZER = train_tokenizer([f"{text} * #" for text in tiny.sentences(400)], vocab_size=60)
SHAPE = tiny.shape("bert", TOKENIZER)
LABELS = ("a", "b", "c")
FIRST, SECOND = tiny.sentences(2)


def tasks() -> dict[str, tuple[AnyTask, Any, Any]]:
    """Each task with a model of random weights, and an input."""
    words: dict[str, Any] = {
        "template": "{text} [MASK]",
        "words": LABELS,
        "word_ids": (7, 8, 9),
        "mask_id": TOKENIZER.mask_id,
    }
    kept: dict[str, Any] = {"max_length": 30}
    long = f"{FIRST} {SECOND} {FIRST} {SECOND}"
    return {
        "classification": (
            Classification(labels=LABELS, max_length=12, overflow="windows"),
            SequenceClassifier(SHAPE, LABELS),
            (long, SECOND),
        ),
        "prompt": (Prompt(labels=LABELS, **words, **kept), MaskedLM(SHAPE), FIRST),
        "multi-label": (
            MultiLabel(labels=LABELS, thresholds=(0.0, 0.0, 0.0), **kept),
            SequenceClassifier(SHAPE, LABELS),
            FIRST,
        ),
        "regression": (Regression(**kept), SequenceClassifier(SHAPE, ("score",)), FIRST),
        "relation": (
            Relation(labels=LABELS, negative=None, **kept),
            SequenceClassifier(SHAPE, LABELS),
            {"text": FIRST, "head": [0, 3], "tail": [4, 9]},
        ),
        "multiple-choice": (
            MultipleChoice(**kept),
            ChoiceScorer(SHAPE),
            {"text": FIRST, "options": [SECOND, "the cat", "the"]},
        ),
        "tagging": (
            Tagging(labels=("O", "B-x", "I-x"), decoding="each", max_length=8, overflow="windows"),
            TokenClassifier(SHAPE, ("O", "B-x", "I-x")),
            {"words": long.split()},
        ),
        "question-answering": (
            QuestionAnswering(max_length=20),
            QuestionAnswerer(SHAPE),
            {"question": FIRST, "context": long},
        ),
        "sentence-embedding": (
            SentenceEmbedding(scale=None, **kept),
            SentenceEncoder(Encoder(SHAPE)),
            (FIRST, SECOND),
        ),
    }


def variants(name: str, seed: int = 0) -> tuple[Variants, Explainer, Any]:
    torch.manual_seed(seed)
    task, model, given = tasks()[name]
    explainer = Explainer(Predictor(task, randomise(model).eval(), TOKENIZER))
    row = next(iter(task.naming(()).of(rows([given]))))
    found, _ = explainer.variants_of(task.read(row, labelled=False))
    return found, explainer, given


def rows(given: list[Any]) -> Any:
    from plainformer.finetune.data.rows import as_rows

    return as_rows(given)


@pytest.mark.parametrize("name", tasks())
def test_the_sum_is_what_masking_all_words_changes(name: str) -> None:
    """Completeness, on every task: windows, pairs, options, words, spans, cosines."""
    of, _, _ = variants(name)
    assert of.decisions and of.words
    found = integrated_gradients(of)
    nothing = np.zeros((1, len(of.words)), bool)
    change = (of.values(~nothing) - of.values(nothing))[0]
    assert np.abs(change).max() > 1e-3
    np.testing.assert_allclose(
        found.attributions.sum(1), change, atol=2e-3 * (1 + abs(change).max())
    )


@pytest.mark.parametrize("name", tasks())
def test_words_are_the_texts(name: str) -> None:
    """Every word is the part of a text that its offsets say, and no token is in two words."""
    of, explainer, given = variants(name)
    (found,) = explainer.explain([given], "occlusion")
    texts = found[0].texts
    for word in of.words:
        assert texts[word.text][word.start : word.end] == word.string != ""
    places = [place for word in of.words for place in word.places]
    assert len(set(places)) == len(places)
    inside = sum(e.special_tokens_mask.count(0) for e in of.item.encodings)
    assert len(places) == inside - (name == "prompt")  # whose mask is no word


@pytest.mark.parametrize("name", tasks())
def test_values_are_those_of_the_masked_input(name: str) -> None:
    """A batch of variants gives what each gives alone; all words kept give the prediction."""
    of, _, _ = variants(name)
    kept = np.random.default_rng(0).random((5, len(of.words))) < 0.5
    together = of.values(kept)
    alone = np.concatenate([of.values(row[None]) for row in kept])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    everything = np.ones((1, len(of.words)), bool)
    assert of.masked(everything[0]) == of.item
    certain = of.values(everything, "certainty")
    assert np.isfinite(certain).all()


def integrated_with(of: Variants, n: int) -> Any:
    """The attributions to the first decision, with a fixed number of points."""
    return np.einsum("a,aw->w", weights(n), products_at(of, points(n))[:, 0])


def test_the_weights_integrate_polynomials() -> None:
    for power in range(9):
        assert weights(8) @ points(8) ** power == pytest.approx(1 / (power + 1), rel=1e-12)


def test_occlusion_by_hand() -> None:
    of, _, _ = variants("classification")
    found = occlusion(of)
    whole = of.values(np.ones((1, len(of.words)), bool))[0]
    for number in (0, len(of.words) - 1):
        without = of.values(np.arange(len(of.words))[None] != number)[0]
        np.testing.assert_allclose(found[:, number], whole - without, atol=1e-6)


@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_as_captum(family: str) -> None:
    """The same integral, by captum with Gauss and Legendre through the padded forward pass."""
    captum = pytest.importorskip("captum.attr")
    config = replace(FAMILIES[family].read_config(CONFIGS[family]), vocab_size=TOKENIZER.vocab_size)
    model = randomise(SequenceClassifier(config, LABELS)).double().eval()
    task = Classification(labels=LABELS, max_length=30)
    explainer = Explainer(Predictor(task, model, TOKENIZER))
    row = next(iter(rows([FIRST])))
    of, _ = explainer.variants_of(task.read(row, labelled=False))
    ours = integrated_with(of, 256)

    (encoding,) = of.item.encodings
    (baseline,) = of.masked(np.zeros(len(of.words), bool)).encodings
    label = LABELS.index(of.decisions[0].name)
    method = captum.LayerIntegratedGradients(
        lambda ids: log_odds(model(ids, torch.ones_like(ids)), label), model.base.embeddings.tokens
    )
    theirs = method.attribute(
        torch.tensor([encoding.ids]), torch.tensor([baseline.ids]), n_steps=256
    ).sum(-1)
    bound = 5e-3 if family == "distilbert" else 1e-5  # the ReLU of its head has a kink
    np.testing.assert_allclose(ours, of.of_words(theirs), atol=bound)


@pytest.mark.parametrize("name", tasks())
def test_rollout_gives_shares(name: str) -> None:
    """None is negative, and with those of the special tokens they add up to 1 for a sequence."""
    of, _, _ = variants(name)
    found = rollout(of)
    assert (found >= -1e-7).all() and (found.sum(1) <= len(of.item.encodings) + 1e-5).all()
    assert found.max() > 1e-4


def test_rollout_by_hand() -> None:
    of, _, _ = variants("prompt")
    batch = of.batch(1)
    with torch.no_grad():
        output = of.model.base(
            batch.input_ids, None, batch.token_type_ids, batch.sequences, output_attentions=True
        )
    flow = np.eye(len(batch.input_ids))
    for layer in output.attentions:
        flow = (np.eye(len(flow)) + layer[0].mean(0).numpy()) / 2 @ flow
    read = batch.input_ids.tolist().index(TOKENIZER.mask_id)  # where the prompt is answered
    np.testing.assert_allclose(rollout(of)[0], of.of_words(torch.tensor(flow[read])), atol=1e-5)


@pytest.mark.parametrize("method", ["rollout", "relevance", "integrated-gradients"])
def test_vectors_before_a_text_are_no_words(method: str) -> None:
    """A soft prompt of its own tokens takes part of the decision, and no word gets it."""
    of, explainer, given = variants("classification")
    words = len(of.words)
    add_soft_prompt(of.model, length=3)
    (found,) = explainer.explain([given], method)
    assert len(found[0].attributions) == words
    if method == "integrated-gradients":
        assert found[0].gap is not None and found[0].gap < 1e-3


def test_few_words_have_their_exact_shapley_values() -> None:
    """SHAP draws no sets where all of them are few: the sum over all orders of the words."""
    pytest.importorskip("shap")
    from itertools import permutations

    of, _, _ = variants("regression")
    of = replace(of, words=of.words[:4])
    exact, orders = np.zeros(4), list(permutations(range(4)))
    for order in orders:
        kept = np.zeros((5, 4), bool)
        for step, word in enumerate(order):
            kept[step + 1 :, word] = True
        exact[list(order)] += np.diff(of.values(kept)[:, 0]) / len(orders)
    np.testing.assert_allclose(kernel_shap(of)[0], exact, atol=1e-5)


def test_lime_finds_the_weights_of_a_linear_model() -> None:
    pytest.importorskip("lime")
    of, _, _ = variants("regression")

    class Linear(Variants):
        def values(self, kept: Any, kind: Any = "value") -> Any:
            return kept @ np.arange(len(self.words), dtype=float)[:, None]

    linear = Linear(of.task, of.model, of.item, of.words, of.decisions, of.mask_id)
    np.testing.assert_allclose(lime(linear)[0], np.arange(len(of.words)), rtol=0.03, atol=0.03)


class Counting(Variants):
    """Variants that note the tokens of each batch."""

    def batch(self, copies: int) -> Any:
        BATCHES.append(copies * self.item.num_tokens)
        return super().batch(copies)


BATCHES: list[int] = []


def test_memory_does_not_grow_with_the_points() -> None:
    """More points are more batches, and none is larger than that of other work."""
    of, _, _ = variants("tagging")
    of = Counting(of.task, of.model, of.item, of.words, of.decisions[:1], of.mask_id)
    most = []
    for n in (128, 512):
        BATCHES.clear()
        products = products_at(of, points(n))
        most.append(max(BATCHES))
        assert products.shape == (n + 1, 1, len(of.words)) and sum(BATCHES) > n
    assert most[0] == most[1] <= BATCH_TOKENS and len(BATCHES) > 4


def test_a_perfect_order_is_judged_better_than_chance() -> None:
    of, _, _ = variants("classification")
    (found,) = judge(of, occlusion(of))
    assert found.comprehensiveness > found.random_comprehensiveness
    assert firsts(np.array([2, 0, 1, 3]))[[0, -1]].tolist() == [
        [False, False, True, False],
        [True, False, True, False],
    ]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_explains(method: str, interpreted: None) -> None:
    if method == "lime":
        pytest.importorskip("lime")
    _, explainer, given = variants("classification")
    (found,) = explainer.explain([given], method)
    (explanation,) = found
    assert explanation.attributions.shape == (len(explanation.words),)
    assert (explanation.gap is not None) == (method in ("integrated-gradients", "relevance"))
    assert (explanation.stability is not None) == (method in ("lime", "shap"))
    assert explanation.ranked()[0][1] == explanation.attributions.max()
    (again,) = explainer.explain([given], method)
    np.testing.assert_array_equal(explanation.attributions, again[0].attributions)


def test_refusals() -> None:
    of, explainer, _ = variants("classification")
    with pytest.raises(UserError, match="did you mean occlusion"):
        list(explainer.explain(["a"], "oclusion"))
    with pytest.raises(UserError, match="the text is empty"):
        list(explainer.explain([" "], "occlusion"))
    static = SentenceEncoder(StaticEncoder(torch.randn(60, 8)), SentenceLayout(is_static=True))
    task = SentenceEmbedding(scale=None, max_length=30)
    with pytest.raises(UserError, match="static vectors have none"):
        list(Explainer(Predictor(task, static, TOKENIZER)).explain([(FIRST, SECOND)], "rollout"))
    _, embedding, _ = variants("sentence-embedding")
    with pytest.raises(UserError, match="give a text and its pair"):
        list(embedding.explain(["a"], "occlusion"))
    quantize_int8(of.model)
    with pytest.raises(UserError, match="int8"):
        list(explainer.explain(["a"], "rollout"))
    assert list(explainer.explain([FIRST], "occlusion"))


def test_the_baseline_is_the_mask_unless_the_answer_is_there() -> None:
    assert baseline_id(tasks()["tagging"][0], TOKENIZER) == TOKENIZER.mask_id
    assert baseline_id(tasks()["prompt"][0], TOKENIZER) == TOKENIZER.unk_id


def test_a_tag_of_a_first_word_is_explained_where_the_model_has_no_such_label():
    task = Tagging(labels=("O", "I-x", "B-y", "I-y"), decoding="each", max_length=8)
    words = ("one", "two", "three", "four")
    offsets = ((0, 3), (4, 7), (8, 13), (14, 18))
    sentence = Sentence(source="f:1", words=words, tags=None, text=" ".join(words), offsets=offsets)
    item = TaggedItem((), (), sentence=sentence, places=())
    tags = ("B-x", "I-x", "O", "")
    said = Tags(words=words, tags=tags, scores=(1.0, 1.0, 1.0, 0.0), entities=())
    assert [one.name for one in decisions_of(task, item, said)] == ["B-x one", "I-x two"]


def test_the_certainty_of_a_tag_is_the_probability_that_the_model_gives():
    """That of a sequence of tags that is legal, not of the word by itself."""
    task = Tagging(labels=("O", "B-x", "I-x"), decoding="legal", max_length=8)
    logits = torch.tensor([[1.0, 0.0, 3.0], [0.5, 0.0, 2.0]])
    sentences = Sequences.of([2])
    outputs = WordScores(logits, torch.arange(2), sentences, task._chain)
    log_p = tag_scores(task, outputs)
    sums = {
        tags: sum(float(logits[word, tag]) for word, tag in enumerate(tags))
        for tags in itertools.product(range(3), repeat=2)
        if tags[0] != 2 and not (tags[1] == 2 and tags[0] == 0)
    }
    whole = sum(math.exp(value) for value in sums.values())
    for word in range(2):
        for tag in range(3):
            some = sum(math.exp(v) for tags, v in sums.items() if tags[word] == tag) / whole
            assert math.isclose(float(log_p[word, tag].exp()), some, abs_tol=1e-6)
