"""From the scores of windows back to answers: spans of the passage, cut, shared and legal."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from plainformer.corpora import Answer
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.metrics.spans import word_f1
from plainformer.finetune.tasks.question_answering import Passage, QuestionAnswering, best_threshold
from tests.finetune.passages import STORY, TASK, TOKENIZERS, about, example
from tests.pretrain import tiny

LONGEST_ANSWER = 30


def perfect(item: Passage) -> list[np.ndarray]:
    """The logits of a model that knows the targets."""
    rows = []
    for encoding, target in zip(item.encodings, item.targets, strict=True):
        logits = np.zeros((len(encoding), 2))
        logits[target[0], (0, 1)] = 10.0
        rows.append(logits)
    return rows


def answered(task: QuestionAnswering, item: Passage):
    """What a task says of a single item whose model is perfect."""
    batch = Batch.of([item])
    start, end = torch.from_numpy(np.concatenate(in_packed_order(batch, perfect(item)))).unbind(-1)
    return task.predict((start.float(), end.float()), batch)[0]


def in_packed_order(batch: Batch, rows: list[np.ndarray]) -> list[np.ndarray]:
    order = np.argsort(batch.places.numpy())
    return [rows[i] for i in order]


PIECES = st.one_of(
    st.text(max_size=12),
    st.sampled_from([*tiny.ANIMALS, *tiny.DEEDS, "  ", "\n", "é", "ﬁ", "½", "茶", "👩‍🚀", "the"]),
)


@given(
    st.sampled_from(sorted(TOKENIZERS)),
    st.lists(PIECES, min_size=1, max_size=25).map(" ".join),
    st.integers(8, 40),
    st.data(),
)
def test_a_gold_span_comes_back_as_its_text(kind, context, max_length, data):
    task, tokenizer = QuestionAnswering(max_length=max_length), TOKENIZERS[kind]
    tokens = tokenizer.tokens(context)
    words = [k for k, (start, end) in enumerate(tokens.offsets) if context[start:end].strip()]
    assume(words)
    i = data.draw(st.sampled_from(words))
    j = data.draw(st.sampled_from([k for k in words if i <= k <= i + 5]))
    begin, end = tokens.offsets[i][0], tokens.offsets[j][1]
    text = context[begin:end]
    item = task.encode(example("the cat .", context, (text, begin)), tokenizer)
    span = item.span(Answer(text, begin))
    assert span is not None
    shared = item.cuts[0].stop - item.cuts[1].start if len(item.cuts) > 1 else len(tokens)
    assume(span[1] - span[0] <= min(shared, LONGEST_ANSWER - 1))  # then a window has all of it
    said = answered(task, item)
    assert said.answer == text
    assert (said.spans[0].start, said.spans[0].end) == (begin, end)


def test_an_answer_is_found_wherever_windows_part(tokenizer):
    """A piece no longer than windows share stands whole in one; the others point to [CLS]."""
    tokens = tokenizer.tokens(STORY)
    item = TASK.encode(about("hauls"), tokenizer)
    assert len(item.cuts) > 3
    shared = item.cuts[0].stop - item.cuts[1].start
    assert shared == len(range(*item.cuts[0].indices(100))) // 4 > 2
    for i in range(len(tokens) - shared):
        start, end = tokens.offsets[i][0], tokens.offsets[i + shared][1]
        item = TASK.encode(example("the cat .", STORY, (STORY[start:end], start)), tokenizer)
        whole = [cut.start <= i and i + shared < cut.stop for cut in item.cuts]
        assert any(whole)
        for encoding, target, has in zip(item.encodings, item.targets, whole, strict=True):
            first, last = target[0]
            if has:
                assert (encoding.offsets[first][0], encoding.offsets[last][1]) == (start, end)
            else:
                assert (first, last) == (0, 0)
                assert encoding.ids[0] == tokenizer.cls_id
        said = answered(TASK, item)
        assert (said.spans[0].start, said.spans[0].end) == (start, end)


def test_an_answer_has_at_most_thirty_tokens(tokenizer):
    task = QuestionAnswering(max_length=128)
    tokens = tokenizer.tokens(STORY)
    for length, found in ((LONGEST_ANSWER, True), (LONGEST_ANSWER + 1, False)):
        start, end = tokens.offsets[3][0], tokens.offsets[3 + length - 1][1]
        item = task.encode(example("the .", STORY, (STORY[start:end], start)), tokenizer)
        assert (answered(task, item).answer == STORY[start:end]) is found


def test_a_word_is_meant_where_only_a_part_of_it_is_the_answer(tokenizer):
    said = answered(TASK, TASK.encode(example("the .", "the cat", ("a", 5)), tokenizer))
    assert said.answer == "a"
    start = STORY.index("the")  # one token
    said = answered(TASK, TASK.encode(example("the .", STORY, ("h", start + 1)), tokenizer))
    assert said.answer == "the"


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_no_answer_begins_or_ends_with_white_space(kind):
    tokenizer = TOKENIZERS[kind]
    task = QuestionAnswering(max_length=200)
    item = task.encode(example("the .", "the red cat  eats", (" red ", 3)), tokenizer)
    blank = [k for k, visible in enumerate(item.visible) if not visible]
    assert blank  # pieces of white space alone
    assert answered(task, item).answer == "red"
    logits = np.zeros((len(item.encodings[0]), 2))
    logits[[item.first + k for k in blank]] = 10.0
    start, end = torch.from_numpy(logits).float().unbind(-1)
    (said,) = task.predict((start, end), Batch.of([item]))
    assert [span.answer for span in said.spans] == [span.answer.strip() for span in said.spans]


def test_a_question_is_cut_where_it_leaves_no_room(tokenizer):
    question = "the red cat eats the red fish ."
    length = len(tokenizer.tokens(question))
    long = TASK.encode(example(question, STORY, ("hauls", STORY.index("hauls"))), tokenizer)
    assert long.is_cut
    room = 24 - 3
    for encoding in long.encodings:
        assert encoding.sequence_ids.count(0) == room // 2
        assert encoding.dropped == length - room // 2
        assert len(encoding) <= 24
    covered = {i for cut in long.cuts for i in range(cut.start, cut.stop)}
    assert covered == set(range(len(tokenizer.tokens(STORY))))
    # Before a short passage it may be longer.
    short = TASK.encode(example(question, "the cat", ("cat", 4)), tokenizer)
    room -= len(tokenizer.tokens("the cat"))
    assert [e.sequence_ids.count(0) for e in short.encodings] == [min(room, length)]
    assert not TASK.encode(example("the .", STORY), tokenizer).is_cut


@given(st.lists(st.tuples(st.integers(-6, 6).map(lambda x: x / 2), st.integers(-4, 4)), min_size=1))
def test_the_threshold_is_the_best_there_is(pairs):
    margins, gains = (np.array(column, np.float64) for column in zip(*pairs, strict=True))

    def gain(threshold: float) -> float:
        return float(gains[margins <= threshold].sum())

    found = best_threshold(margins, gains)
    assert gain(found) == max(gain(t) for t in np.arange(-4, 4, 0.25))
    assert found not in margins


def test_tuning_is_by_f1_on_what_was_predicted():
    def case(margin: float, answer: str, *gold: str):
        said = answered(
            replace(TASK, threshold=0.0),
            TASK.encode(example("the .", answer, (answer, 0)), TOKENIZERS["wordpiece"]),
        )
        return example("the .", answer, *((g, 0) for g in gold)), replace(
            said, margin=float(margin)
        )

    results = [
        case(-5, "cat", "cat"),
        case(-2, "the red cat", "cat"),  # f1 2/3 is worth an answer
        case(1, "dog"),
        case(2, "cat", "cat"),
        case(3, "cat", "cat"),
        case(4, "cat"),
        case(5, "cat", "dog"),
    ]
    tuned = replace(TASK, threshold=0.0).tune(results)
    assert tuned.threshold == 3.5
    f1 = {
        t: sum(
            word_f1(p.spans[0].answer if p.margin <= t else "", [a.text for a in e.answers or ()])
            for e, p in results
        )
        for t in np.arange(-6, 6, 0.25)
    }
    assert f1[3.5] == max(f1.values())
    assert TASK.tune(results).threshold is None
    assert replace(TASK, threshold=0.5).tune([]).threshold == 0.5
