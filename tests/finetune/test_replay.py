"""Replay: its share of the steps, in any prefix, and every new example in its turn."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from plainformer.finetune.continual import Replayed, buffer
from plainformer.training import by_items

NEW = by_items(40, 8, seed=0)
OLD = {"a": by_items(9, 4, seed=1), "b": by_items(5, 4, seed=2)}


@given(share=st.floats(0, 0.9), new=st.integers(1, 300))
def test_a_share_of_the_steps_is_replay(share, new):
    order = Replayed("new", {**OLD, "new": NEW}, share)
    steps = order.steps(new)
    assert abs(steps - new / (1 - share)) <= 1
    names = [order.turn(step)[0] for step in range(steps)]
    counts = Counter(names)
    assert counts["new"] == new and abs(counts["a"] - counts["b"]) <= 1
    for end in range(0, steps, 7):
        replayed = sum(name != "new" for name in names[:end])
        assert abs(replayed - share * end) <= 1


def test_each_task_has_its_own_order():
    """Without the steps of the others, the steps of a task are those it would have alone."""
    order = Replayed("new", {**OLD, "new": NEW}, 0.4)
    found: dict[str, list[list[int]]] = {"new": [], "a": [], "b": []}
    for step in range(50):
        name, chosen = order(step)
        found[name].append(chosen)
    for name, alone in {"new": NEW, **OLD}.items():
        assert len(found[name]) >= 9
        assert found[name] == [alone(step)[0].tolist() for step in range(len(found[name]))]


def test_the_first_task_has_nothing_to_replay():
    order = Replayed("new", {"new": NEW}, 0.5)
    assert order.steps(7) == 7
    assert [order(step)[1] for step in range(7)] == [NEW(step)[0].tolist() for step in range(7)]


def test_the_buffer_is_a_random_part_in_order():
    items = list(range(100))
    drawn = buffer(items, 10, seed=3)
    assert len(set(drawn)) == 10 and drawn == sorted(drawn) and drawn == buffer(items, 10, seed=3)
    assert drawn != buffer(items, 10, seed=4) and buffer(items, 1000, seed=3) == items
