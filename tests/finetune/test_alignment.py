"""Tags of words on tokens and back: nothing is lost, in windows or cut, in any batch."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plainformer.finetune.data.batch import Batch
from plainformer.finetune.tasks.tagging.iob import iob2, spans
from plainformer.finetune.tasks.tagging.sentences import Sentence, Tags
from plainformer.finetune.tasks.tagging.task import IGNORED, Tagging
from plainformer.finetune.tasks.tagging.words import TaggedItem
from tests.finetune.sentences import PLAIN, TOKENIZERS, sentence, task

TYPES = ("A", "B")
HOSTILE = st.sampled_from(
    ["\u200b", "\u3000", " ", "", "[SEP]", "[UNK]", "e\u0301", "😀", "中文", "x" * 120]
)
WORD = st.sampled_from(["the", "red", "fish", "nectar", "steals"]) | HOSTILE | st.text(max_size=4)
ENTITY_TAG = st.just("O") | st.builds(
    "{}-{}".format, st.sampled_from("BIES"), st.sampled_from(TYPES)
)


def answers(task: Tagging, items: list[TaggedItem], seed: int = 0) -> list[Tags]:
    """What a model says that is right at every word, and says anything elsewhere."""
    batch = Batch.of(items)
    logits = torch.randn(batch.num_tokens, len(task.labels), generator=torch.manual_seed(seed))
    known = batch.targets != IGNORED
    logits[known] = 20 * torch.eye(len(task.labels))[batch.targets[known]]
    return task.predict(task.of_words(logits, batch), batch)


def tagged(tag=ENTITY_TAG) -> st.SearchStrategy[list[list[tuple[str, str]]]]:
    return st.lists(st.lists(st.tuples(WORD, tag), min_size=1, max_size=12), min_size=1, max_size=4)


def sentences(drawn: list[list[tuple[str, str]]]) -> list[Sentence]:
    return [sentence([w for w, _ in pairs], [t for _, t in pairs]) for pairs in drawn]


def wanted(example: Sentence) -> tuple[str, ...]:
    return tuple(iob2(spans(example.tags), len(example.tags)))


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=40)
@given(tagged(), tagged(st.sampled_from(PLAIN)))
def test_nothing_is_lost_on_the_way(kind, drawn, drawn_plain):
    examples, plain = sentences(drawn), sentences(drawn_plain)
    items = [task().encode(example, TOKENIZERS[kind]) for example in examples]
    for example, answer in zip(examples, answers(task(), items), strict=True):
        assert answer.tags == wanted(example)
        assert [(e.type, *e.words) for e in answer.entities] == spans(example.tags)
        assert min(answer.scores) > 0.99 and all(e.score > 0.99 for e in answer.entities)
        for entity in answer.entities:
            start, end = entity.characters
            assert example.text[start:end] == entity.text
    items = [task(plain=True).encode(example, TOKENIZERS[kind]) for example in plain]
    for example, answer in zip(plain, answers(task(plain=True), items), strict=True):
        assert answer.tags == example.tags and answer.entities is None


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=40)
@given(tagged(), st.integers(4, 20))
def test_windows_read_every_word(kind, drawn, max_length):
    examples = sentences(drawn)
    reader = task(max_length, "windows")
    items = [reader.encode(example, TOKENIZERS[kind]) for example in examples]
    for example, item, answer in zip(examples, items, answers(reader, items), strict=True):
        assert answer.tags == wanted(example) and min(answer.scores) > 0.99
        assert not item.is_cut and max(map(len, item.encodings)) <= max_length
        assert (
            len(item.places)
            == len(example.words)
            == sum((t != IGNORED).sum() for t in item.targets)
        )


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=40)
@given(tagged(), st.integers(4, 20))
def test_words_that_fit_are_tagged_and_those_cut_are_outside(kind, drawn, max_length):
    examples = sentences(drawn)
    reader, tokenizer = task(max_length), TOKENIZERS[kind]
    items = [reader.encode(example, tokenizer) for example in examples]
    for example, item, answer in zip(examples, items, answers(reader, items), strict=True):
        fit, room = 0, max_length - 2
        for word in example.words:
            if room <= 0:
                break
            fit, room = fit + 1, room - len(tokenizer.word_tokens([word]))
        whole = len(tokenizer.word_tokens(example.words))
        assert item.encodings[0].dropped == max(0, whole - (max_length - 2))
        kept = wanted(example)[:fit]
        assert answer.tags == kept + ("O",) * (len(example.words) - fit)
        assert answer.scores[fit:] == (0.0,) * (len(example.words) - fit)


def test_a_word_is_read_where_it_has_the_most_context():
    example = sentence(
        ["the", "red", "fish", "nectar", "steals", "the", "red", "corn", "of", "the", "red", "hen"]
        * 4,
        None,
    )
    tokenizer = TOKENIZERS["wordpiece"]
    reader = task(14, "windows")
    item = reader.encode(example, tokenizer)
    encodings = tokenizer.windows(" ".join(example.words), max_length=14, stride=3)
    assert [e.ids for e in item.encodings] == [e.ids for e in encodings]
    ids = tokenizer.word_tokens(example.words)
    for word, (window, place) in enumerate(item.places):
        encoding = item.encodings[window]
        first = ids.word_ids.index(word)
        assert encoding.word_ids[place] == word and encoding.ids[place] == ids.ids[first]
        context = min(place - 1, len(encoding) - 2 - place)
        for other in item.encodings:
            for there, number in enumerate(other.word_ids):
                if number == word and other.ids[there] == ids.ids[first] and other is not encoding:
                    assert min(there - 1, len(other) - 2 - there) <= context


@pytest.mark.parametrize("decoding", ["legal", "crf"])
@settings(max_examples=20)
@given(tagged())
def test_a_batch_says_and_costs_what_its_sentences_do(decoding, drawn):
    examples = sentences(drawn)
    reader = replace(task(10, "windows"), decoding=decoding)
    items = [reader.encode(example, TOKENIZERS["bpe"]) for example in examples]

    def run(some: list[TaggedItem]) -> tuple[list[Tags], float, int]:
        batch = Batch.of(some)
        at = (
            batch.input_ids[:, None] * torch.arange(1, 6) * 7 % 11
            + batch.sequences.positions[:, None]
        )
        outputs = reader.of_words(torch.sin(at.float()), batch)
        loss = reader.loss(outputs, batch)
        return reader.predict(outputs, batch), float(loss.total), loss.items

    together, total, count = run(items)
    apart = [run([item]) for item in items]
    assert total == pytest.approx(sum(one for _, one, _ in apart), rel=1e-4)
    assert count == sum(n for *_, n in apart) == sum(len(e.words) for e in examples)
    for answer, ((alone,), _, _) in zip(together, apart, strict=True):
        assert answer.tags == alone.tags
        assert answer.scores == pytest.approx(alone.scores, abs=1e-6)
