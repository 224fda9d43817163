"""Counts and durations in few characters."""

import pytest

from plainformer.base.counts import clock, short


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (987, "987"), (12_345, "12.3k"), (999_960, "1M"), (1_250_000, "1.25M"), (2e9, "2G")],
)
def test_a_number_has_three_digits(number, text):
    assert short(number) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (252, "4:12"), (4980, "1h23")])
def test_a_duration_is_in_minutes_or_hours(seconds, text):
    assert clock(seconds) == text
