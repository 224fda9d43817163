import pytest
from hypothesis import given
from hypothesis import strategies as st

from plainformer.base.words import join_words, words_of
from plainformer.corpora.sets import bmes_to_iob2
from plainformer.finetune.tasks.tagging.iob import (
    Span,
    are_entities,
    continues,
    iob2,
    is_legal,
    is_tag,
    spans,
)

TYPES = st.sampled_from(["PER", "LOC", "geo-loc", "人"])
ANY_TAG = st.just("O") | st.builds("{}-{}".format, st.sampled_from("BIMELSU"), TYPES)


@st.composite
def sentences(draw) -> tuple[list[Span], int]:
    """Entities, and how many words there are."""
    entities, length = [], draw(st.integers(0, 2))
    for kind in draw(st.lists(TYPES, max_size=5)):
        end = length + draw(st.integers(1, 4))
        entities.append(Span(kind, length, end))
        length = end + draw(st.integers(0, 2))
    return entities, length


def written(scheme: str, entities: list[Span], length: int) -> list[str]:
    """The tags of a scheme, by its own definition."""
    tags = ["O"] * length
    for number, (kind, begin, end) in enumerate(entities):
        inside = {"BMES": "M"}.get(scheme, "I")
        single = {"BIOES": "S", "BMES": "S", "BILOU": "U"}.get(scheme, "B")
        last = {"BIOES": "E", "BMES": "E", "BILOU": "L"}.get(scheme, "I")
        first = "B"
        if scheme == "IOB1":  # B- only where an entity of the same type stands right before
            touches = number > 0 and entities[number - 1][::2] == (kind, begin)
            first = single = "B" if touches else "I"
        tags[begin:end] = [f"{inside}-{kind}"] * (end - begin)
        tags[end - 1] = f"{last}-{kind}"
        tags[begin] = f"{single if end == begin + 1 else first}-{kind}"
    return tags


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "BIOES", "BILOU", "BMES"])
@given(sentences())
def test_one_rule_reads_every_scheme(scheme, sentence):
    entities, length = sentence
    tags = written(scheme, entities, length)
    assert spans(tags) == entities
    assert iob2(entities, length) == written("IOB2", entities, length)


@given(st.lists(ANY_TAG))
def test_any_tags_have_entities_and_iob2_has_the_same(tags):
    found = spans(tags)
    again = iob2(found, len(tags))
    assert spans(again) == found
    assert [tag == "O" for tag in again] == [tag == "O" for tag in tags]
    assert all(is_legal(tag, before) for before, tag in zip(["O", *again], again, strict=False))
    assert all(end > begin for _, begin, end in found)


@given(st.lists(ANY_TAG.filter(lambda tag: tag[0] in "OBMES")))
def test_as_the_sets_are_read(tags):
    """The set's own converter ends an entity at E and S as this one does."""
    assert iob2(spans(tags), len(tags)) == bmes_to_iob2(tags)


@given(st.lists(ANY_TAG))
def test_as_conlleval_counts(tags):
    get_entities = pytest.importorskip("seqeval.metrics.sequence_labeling").get_entities
    known = [{"M": "I", "L": "E", "U": "S"}.get(tag[0], tag[0]) + tag[1:] for tag in tags]
    assert [(k, b, e - 1) for k, b, e in spans(tags)] == get_entities(known)


def test_an_entity_without_its_beginning():
    assert spans(["I-A", "I-A", "O", "I-A", "I-B", "E-B", "E-B"]) == [
        Span("A", 0, 2),
        Span("A", 3, 4),
        Span("B", 4, 6),
        Span("B", 6, 7),
    ]
    assert not continues("I-A", "S-A") and not continues("I-A", "I-B") and continues("E-A", "M-A")


@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        ("O B-PER I-PER", True),
        ("O I-ORG", True),
        ("O S-ORG", True),
        ("O S-ORG NN", False),
        ("B I O", True),
        ("B M E S", True),
        ("NN PRP$ -LRB- , . ''", False),
        ("B E N V S", False),  # parts of speech of one letter
        ("O", False),
        ("N V O", False),
    ],
)
def test_entities_and_plain_labels(tags, entities):
    assert are_entities(tags.split()) is entities


def test_positions_without_a_type():
    assert spans(["B", "I", "O", "B", "B"]) == [Span("_", 0, 2), Span("_", 3, 4), Span("_", 4, 5)]
    assert is_tag("S-x") and is_tag("O") and is_tag("B")
    assert not is_tag("B_x") and not is_tag("b-x") and not is_tag("") and not is_tag("B-")


@given(st.text())
def test_words_are_all_of_the_text_but_white_space(text):
    words = words_of(text)
    assert all(start < end for start, end in words)
    covered = "".join(text[start:end] for start, end in words)
    joiners = "\u200c\u200d"
    assert "".join(covered.split()) == "".join(text.split())
    assert all(not text[start].isspace() or text[start] in joiners for start, _ in words)
    assert words == sorted(words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("U.N. official, in 2004!", ["U", ".", "N", ".", "official", ",", "in", "2004", "!"]),
        ("我在Berlin住了3年。", ["我", "在", "Berlin", "住", "了", "3", "年", "。"]),
        ("हिन्दी में", ["हिन्दी", "में"]),  # vowel signs are marks
        ("cafe\u0301s  \n naïve_x", ["cafe\u0301s", "naïve_x"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("カタカナ", ["カ", "タ", "カ", "ナ"]),
        ("\u3000全\u3000角 ", ["全", "角"]),
        ("", []),
        (" \t", []),
    ],
)
def test_the_words_of_a_text(text, words):
    assert [text[start:end] for start, end in words_of(text)] == words


@given(st.lists(st.text(min_size=1)))
def test_words_are_found_in_their_text(words):
    text, offsets = join_words(words)
    assert [text[start:end] for start, end in offsets] == words


def test_chinese_is_written_without_spaces():
    assert join_words(["我", "在", "Berlin", "很", "好"])[0] == "我在 Berlin 很好"
