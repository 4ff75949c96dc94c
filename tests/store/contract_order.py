"""Contract tests of pages of calls in an order, compared with plain loops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import UsageError
from onhook.store.contract import CALL_ORDERS, PAGE_MAX, Store
from tests.factories import call
from tests.store import plain
from tests.store.contract import OpenStoreFixture, batch, property_test
from tests.store.office import FILTERS, office_calls


class OrderContract:
    """Pages in every order."""

    @property_test
    @given(office=office_calls(), record_filter=FILTERS, late_count=st.integers(0, 3), data=st.data())
    async def test_ordered_calls_pages_join_in_every_order_while_calls_arrive(
        self,
        stores: OpenStoreFixture,
        office: list[Call],
        record_filter: RecordFilter,
        late_count: int,
        data: st.DataObject,
    ) -> None:
        """Forwards and backwards each call that was there is on one page, in its place."""
        key = data.draw(st.sampled_from(CALL_ORDERS))
        order = data.draw(st.sampled_from(("", "-"))) + key
        limit = data.draw(st.integers(1, 3))
        late_calls, early_calls = office[:late_count], office[late_count:]
        expected = [(call.sn, call.call_id) for call in plain.ordered_calls(early_calls, record_filter, order)]
        async with stores() as store:
            await store.put(batch(*early_calls, position=1))
            page = await store.ordered_calls(record_filter, order, limit)
            assert page.previous is None
            await store.put(batch(*late_calls, position=2))
            keys = [(call.sn, call.call_id) for call in page.data]
            while page.next is not None:
                page = await store.ordered_calls(record_filter, order, limit, page.next)
                keys += [(call.sn, call.call_id) for call in page.data]
            assert [key for key in keys if key in expected] == expected
            assert len(keys) == len(set(keys))
            backward_keys = [(call.sn, call.call_id) for call in page.data]
            while page.previous is not None:
                page = await store.ordered_calls(record_filter, order, limit, page.previous)
                backward_keys = [(call.sn, call.call_id) for call in page.data] + backward_keys
            everything = plain.ordered_calls(office, record_filter, order)
            assert backward_keys == [(call.sn, call.call_id) for call in everything][-len(backward_keys) :]
            if backward_keys:
                assert len(backward_keys) == len(everything)

    async def test_ordered_calls_invalid_cursor_or_order_is_rejected(self, store: Store) -> None:
        await store.put(batch(*(call() for _ in range(3))))
        page = await store.ordered_calls(RecordFilter(), "-talk_duration", 1)
        assert page.next is not None
        for order, limit, cursor in (
            ("colour", 1, None),
            ("talk_duration", 0, None),
            ("talk_duration", PAGE_MAX + 1, None),
            ("talk_duration", 1, page.next),
            ("-talk_duration", 1, page.next[:-3]),
            ("-talk_duration", 1, "x" * 500),
            ("-talk_duration", 1, (await store.calls(RecordFilter(), 1)).next),
        ):
            with pytest.raises(UsageError):
                await store.ordered_calls(RecordFilter(), order, limit, cursor)
