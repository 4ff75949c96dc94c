"""Ranges of the file in which calls are searched."""

from hypothesis import given
from hypothesis import strategies as st

from onhook.store.queries.locality import KEY_RANGE_GAP_SECONDS, KEY_RANGES_MAX, key_ranges
from onhook.store.schema import call_key

KEYS = st.tuples(
    st.sampled_from(("a", "b")),
    st.one_of(st.integers(1_000_000_000, 2_000_000_000).map(lambda second: f"{second}.1"), st.text(max_size=5)),
)


@given(st.lists(KEYS, max_size=60))
def test_key_ranges_contain_every_key_once(keys: list[tuple[str, str]]) -> None:
    """Ranges never overlap, and are few."""
    ranges = list(key_ranges(keys))
    assert sorted(key for key_range in ranges for key in key_range.keys) == sorted(set(keys))
    assert len(ranges) <= KEY_RANGES_MAX
    for key_range in ranges:
        assert (
            list(key_range.call_keys)
            == [call_key(call_id) for _, call_id in key_range.keys]
            == sorted(key_range.call_keys)
        )
    bounds = [bound for key_range in ranges for bound in (key_range.call_keys[0], key_range.call_keys[-1])]
    assert bounds == sorted(bounds)


def test_key_ranges_late_call_has_own_range() -> None:
    evening = [("a", f"{1_777_304_494 + second}.{second}") for second in range(3)]
    late = ("a", f"{1_777_304_494 - 300 * KEY_RANGE_GAP_SECONDS}.1")
    assert [sorted(key_range.keys) for key_range in key_ranges([*evening, late])] == [[late], evening]
