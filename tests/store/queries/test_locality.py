"""Calls are looked for in the corners of the file in which they can be."""

from hypothesis import given
from hypothesis import strategies as st

from onhook.store.queries.locality import KEY_RANGE_GAP_SECONDS, KEY_RANGES_MAX, key_ranges
from onhook.store.schema import call_key

KEYS = st.tuples(
    st.sampled_from(("a", "b")),
    st.one_of(st.integers(1_000_000_000, 2_000_000_000).map(lambda second: f"{second}.1"), st.text(max_size=5)),
)


@given(st.lists(KEYS, max_size=60))
def test_corners_hold_all_keys_once(keys: list[tuple[str, str]]) -> None:
    """Each key is in the one corner whose bounds hold its number; corners never overlap, and are few."""
    found = list(key_ranges(keys))
    assert sorted(key for corner in found for key in corner.keys) == sorted(set(keys))
    assert len(found) <= KEY_RANGES_MAX
    for corner in found:
        assert list(corner.call_keys) == [call_key(call_id) for _, call_id in corner.keys] == sorted(corner.call_keys)
    bounds = [bound for corner in found for bound in (corner.call_keys[0], corner.call_keys[-1])]
    assert bounds == sorted(bounds)


def test_a_late_report_is_in_a_corner_of_its_own() -> None:
    """Calls of one evening are looked for together, one of last year apart from them."""
    evening = [("a", f"{1_777_304_494 + second}.{second}") for second in range(3)]
    late = ("a", f"{1_777_304_494 - 300 * KEY_RANGE_GAP_SECONDS}.1")
    assert [sorted(corner.keys) for corner in key_ranges([*evening, late])] == [[late], evening]
