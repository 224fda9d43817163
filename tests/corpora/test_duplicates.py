from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from plainformer.corpora.duplicates import SeenHashes, digest

texts = st.lists(st.text(st.sampled_from("ab"), max_size=4), max_size=12)


@given(st.lists(texts, max_size=12))
def test_each_text_is_new_once(portions):
    seen, known = SeenHashes(), set()
    for portion in portions:
        expected = []
        for text in portion:
            expected.append(text not in known)
            known.add(text)
        assert seen.add(np.array([*map(digest, portion)], np.int64)).tolist() == expected
    assert len(seen) == len(known)


def test_a_text_costs_eight_bytes():
    rng = np.random.default_rng(0)
    seen, total = SeenHashes(), 0
    for size in rng.integers(1, 900, 300):
        total += int(seen.add(rng.integers(-(2**63), 2**63 - 1, size)).sum())
        runs = [len(run) for run in seen._arrays]
        assert sum(runs) == total
        assert all(a >= 2 * b for a, b in pairwise(runs))
        assert all(np.all(np.diff(run.astype(object)) > 0) for run in seen._arrays[-1:])
        assert {run.itemsize for run in seen._arrays} == {8}


def test_the_hash_is_the_same_everywhere_and_always():
    # as coreutils gives it, read from the lowest byte: echo -n plain | b2sum -l 64
    assert digest("plain") == int.from_bytes(
        bytes.fromhex("0db28b934cd2ead5"), "little", signed=True
    )
