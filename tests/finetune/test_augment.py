"""Methods of augmentation: how many words they change, and which; guesses against their formula."""

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plainformer.base import UserError, write_text
from plainformer.encoder import MaskedLM, SequenceClassifier
from plainformer.finetune import Predictor
from plainformer.finetune.augment import (
    Guesser,
    WholeWords,
    agreeing,
    delete_words,
    guess_words,
    read_synonyms,
    replace_synonyms,
    swap_words,
)
from plainformer.finetune.data.words import split_text
from plainformer.finetune.tasks.classification import ClassExample, Classification
from plainformer.finetune.tasks.relation import RelationExample
from plainformer.finetune.tasks.sentence_embedding import SentenceExample
from plainformer.finetune.tasks.tagging.iob import is_legal
from plainformer.pretrain import fill_mask
from tests.encoder.tools import randomise
from tests.finetune import passages
from tests.finetune.passages import example as question
from tests.finetune.sentences import sentence
from tests.pretrain import tiny

SYNONYMS = {("a",): ("b b",), ("b",): ("a",), ("c", "d"): ("e",)}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def text_of(text: str) -> ClassExample:
    return ClassExample(text=text, label="x", source="f:1")


KINDS = ("text", "pair", "relation", "question", "entities", "plain")
WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "我", "don't", ",", "'"]), min_size=1)
NUMBERS = st.lists(st.integers(0, 99), min_size=20, max_size=20)
GIVEN = st.tuples(st.sampled_from(KINDS), WORDS, WORDS, NUMBERS)
SHARES = st.floats(0.01, 0.9)


def example_of(kind: str, words: list[str], others: list[str], numbers: list[int]) -> Any:
    """An example of words and signs that are parted by spaces."""
    text, other = " ".join(words), " ".join(others)
    if kind == "text":
        return text_of(text)
    if kind == "pair":
        return SentenceExample(text=text, pair=other, negative=text, source="f:1")
    starts = [number % len(text) for number in numbers[:2]]
    spans = [(a, a + 1 + n % (len(text) - a)) for a, n in zip(starts, numbers[2:], strict=False)]
    if kind == "relation":
        return RelationExample(text=text, head=spans[0], tail=spans[1], label="r", source="f:1")
    if kind == "question":
        return question(other, text, *((text[a:b], a) for a, b in spans))
    tags = ["B-A", "I-A", "O", "I-B"] if kind == "entities" else ["NN", "VB", "O"]
    return sentence(words, [tags[numbers[n % 20] % len(tags)] for n in range(len(words))])


def spans_of(example: Any) -> list[str]:
    """What head and tail, or the answers, read."""
    if isinstance(example, RelationExample):
        return [example.text[slice(*span)] for span in (example.head, example.tail)]
    answers = getattr(example, "answers", ())
    found = [example.context[answer.start : answer.end] for answer in answers]
    assert found == [answer.text for answer in answers]
    return found


def check(before: Any, after: Any) -> None:
    """What holds after any method: spans, legal tags, no empty text, the same label and source."""
    assert spans_of(after) == spans_of(before)
    assert {w.part for w in after.to_words()} == {w.part for w in before.to_words()}
    assert after.source == before.source and after.category == before.category
    tags = getattr(after, "tags", ())
    assert len(tags) == len(getattr(after, "words", ()))
    assert all(map(is_legal, tags, ("O", *tags)))


def free(example: Any) -> list[Any]:
    return [word for word in example.to_words() if word.is_free]


def content(words: Any) -> Counter[tuple[str, int, str]]:
    return Counter((w.text, w.part, w.tag.removeprefix("B-").removeprefix("I-")) for w in words)


@given(GIVEN, SHARES, st.integers(0, 99))
@settings(max_examples=50)
def test_deletion_leaves_out_a_share(given, share, seed):
    before = example_of(*given)
    after = delete_words(before, share, generator(seed))
    check(before, after)
    sizes = Counter(word.part for word in free(before))
    deleted = min(max(1, round(share * len(free(before)))), sum(sizes.values()) - len(sizes))
    assert len(after.to_words()) == len(before.to_words()) - deleted
    assert content(after.to_words()) <= content(before.to_words())


@given(GIVEN, SHARES, st.integers(0, 99))
@settings(max_examples=50)
def test_swaps_keep_all_words_with_their_tags(given, share, seed):
    before = example_of(*given)
    after = swap_words(before, share, generator(seed))
    check(before, after)
    assert content(after.to_words()) == content(before.to_words())
    places = [
        (one, other)
        for one, other in zip(before.to_words(), after.to_words(), strict=True)
        if one.text != other.text
    ]
    assert len(places) % 2 == 0
    assert len(places) <= 2 * max(1, round(share * len(free(before))))
    assert all(one.is_free and one.entity is None for one, _ in places)
    texts = {(w.part, w.text) for w in free(before) if w.entity is None}
    if len(texts) > len({part for part, _ in texts}):
        assert places


@given(GIVEN, SHARES, st.integers(0, 99))
@settings(max_examples=50)
def test_synonyms_stand_in_place_of_their_words(given, share, seed):
    before = example_of(*given)
    after = replace_synonyms(before, SYNONYMS, share, generator(seed))
    check(before, after)
    was, now = (Counter(word.text for word in free(e)) for e in (before, after))
    more = {text: now[text] - was[text] for text in "abcde"}
    of_cd = more["e"]
    of_a = now.total() - was.total() + of_cd
    of_b = more["a"] + of_a
    assert min(of_a, of_b, of_cd) >= 0
    assert more["b"] == 2 * of_a - of_b and more["c"] == more["d"] == -of_cd
    count = max(1, round(share * was.total()))
    if given[0] == "text":
        count = min(count, len(re.findall(r"(?<!\S)(a|b|c d)(?!\S)", before.text)))
        assert of_a + of_b + of_cd == count
    assert of_a + of_b + of_cd <= count


def test_words_come_from_the_generator_alone():
    before = text_of(" ".join(map(str, range(40))))
    for method in (delete_words, swap_words):
        torch.manual_seed(1)
        first = method(before, 0.2, generator(3))
        torch.manual_seed(2)
        assert method(before, 0.2, generator(3)) == first != method(before, 0.2, generator(4))
        assert len(first.text.split()) == (32 if method is delete_words else 40)


def test_synonyms_are_as_listed(tmp_path):
    path = tmp_path / "list.txt"
    write_text(
        path,
        "big\tlarge, or so\n\nfilm, movie,motion picture\n高兴,快乐\nNew York, NYC\nnew, fresh\n",
    )
    synonyms = read_synonyms(path)
    every = [
        replace_synonyms(text_of(text), synonyms, 0.9, generator()).text
        for text in ("A big one.", "Big!", "motion pictures", "我很高兴。", "New York, new  york")
    ]
    assert every == [
        "A large, or so one.",
        "Large, or so!",
        "motion pictures",
        "我很快乐。",
        "NYC, NYC",
    ]
    drawn = Counter(
        replace_synonyms(text_of("motion picture"), synonyms, 0.1, generator(seed)).text
        for seed in range(40)
    )
    assert drawn.keys() == {"film", "movie"} and min(drawn.values()) > 8
    entity = sentence(["in", "NYC", ",", "New", "York"], ["O", "B-L", "O", "B-L", "I-L"])
    changed = replace_synonyms(entity, synonyms, 0.9, generator())
    assert changed.words == ("in", "New", "York", ",", "NYC")
    assert changed.tags == ("O", "B-L", "I-L", "O", "B-L")
    apart = sentence(["motion", "picture"], ["B-L", "B-M"])
    assert replace_synonyms(apart, synonyms, 0.9, generator()) == apart


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("a, b\nalone\n", ":2: 'alone' is alone: write the words of one meaning on a line"),
        ("a,,b\n", ":1: '' is no word: 'a,,b'"),
        ("a, b\n\nc\t?\n", ":3: '\\?' is no word"),
        ("Big, large, big\n", ":1: 'Big' stands there twice"),
        ("\n", " has no synonyms"),
    ],
)
def test_a_bad_list_is_refused_by_its_line(lines, fault, tmp_path):
    write_text(tmp_path / "list.txt", lines)
    with pytest.raises(UserError, match=f"list.txt{fault}"):
        read_synonyms(tmp_path / "list.txt")


TOKENIZER = tiny.make_tokenizer()


@pytest.fixture(scope="module")
def guesser() -> Guesser:
    torch.manual_seed(0)
    model = randomise(MaskedLM(tiny.shape("bert", TOKENIZER)))
    return Guesser(model.eval(), TOKENIZER, WholeWords.of(TOKENIZER))


def test_guesses_are_drawn_as_the_model_predicts_the_masked_word(guesser):
    """Frequencies are the probabilities of `fill_mask`, among the ten most probable other words."""
    words = split_text("the red cat .")
    (found,) = fill_mask(guesser.model, TOKENIZER, "the [MASK] cat .", top=TOKENIZER.vocab_size)
    logits = guesser.guesses(words, [1])[1]
    for guess in found:
        p = logits.softmax(-1)[TOKENIZER.id(guess.token)]
        assert float(p) == pytest.approx(guess.probability, rel=1e-4)
    first, *others = [guess for guess in found if guess.token.isalpha()][:11]
    drawn = Counter(
        guesser.draw(logits, first.token.title(), generator(seed)) for seed in range(500)
    )
    assert drawn.keys() <= {guess.token for guess in others}
    whole = sum(guess.probability for guess in others)
    for guess in others:
        p = guess.probability / whole
        assert drawn[guess.token] / 500 == pytest.approx(p, abs=4 * (p * (1 - p) / 500) ** 0.5)


def test_only_words_without_a_tag_are_guessed(guesser):
    tags = ["B-A", "I-A", "O", "O", "O"]
    before = sentence(["the", "Cat", "Eats", "7", "."], tags)
    changed = [guess_words(before, guesser, 0.9, generator(seed)) for seed in range(9)]
    for after in changed:
        assert [a == b for a, b in zip(before.words, after.words, strict=True)] == [1, 1, 0, 1, 1]
        assert after.tags == before.tags and after.words[2][0].isupper()
    assert len({after.words[2] for after in changed}) > 1
    plain = sentence(["the", "cat"], ["DT", "NN"])
    assert guess_words(plain, guesser, 0.9, generator()) == plain


def test_pairs_spans_and_what_is_cut_off(guesser):
    answer = question("the cat .", "the red cat eats", ("red cat", 4))
    after = guess_words(answer, guesser, 0.9, generator())
    check(answer, after)
    assert after.question != answer.question and after.context.startswith(after.context.split()[0])
    assert "red cat" in after.context and "the" not in after.context.split()
    long = text_of("the cat eats [MASK] . " * 40)
    words = guess_words(long, guesser, 0.9, generator()).text.split()
    assert words[-5:] == long.text.split()[-5:] and words[:3] != ["the", "cat", "eats"]


def test_a_folder_without_a_masked_language_model_is_refused(tmp_path):
    model = SequenceClassifier(tiny.shape("bert", TOKENIZER), ("a", "b"))
    model.save_pretrained(tmp_path)
    TOKENIZER.save(tmp_path)
    with pytest.raises(UserError, match="MaskedLM"):
        Guesser.load(tmp_path)


def test_the_check_keeps_what_is_predicted():
    task = Classification(labels=("x", "y"), max_length=16)
    torch.manual_seed(0)
    model = randomise(SequenceClassifier(tiny.shape("bert", TOKENIZER), ("x", "y")))
    predictor = Predictor(task, model.eval(), TOKENIZER)
    given = [text_of(text) for text in tiny.sentences(20)]
    said = [prediction.label for prediction in predictor([e.text for e in given])]
    kept = [e for e, label in zip(given, said, strict=True) if label == "x"]
    assert agreeing(given, predictor) == kept
    flipped = [replace(e, label="y") for e in given]
    assert len(agreeing(flipped, predictor)) == 20 - len(kept)


def test_targets_follow_the_answer():
    before = passages.about(" ".join(passages.STORY.split()[7:10]))
    after = swap_words(delete_words(before, 0.3, generator()), 0.3, generator())
    assert after.context != before.context
    item = passages.TASK.encode(after, passages.TOKENIZERS["wordpiece"])
    found = set()
    for ((first, last),), cut in zip(item.targets, item.cuts, strict=True):
        if last:
            tokens = item.offsets[cut][first - item.first : last - item.first + 1]
            found.add(after.context[tokens[0, 0] : tokens[-1, 1]])
    assert found == {before.answers[0].text}
