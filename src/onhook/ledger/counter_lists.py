"""Counters of requests as values: add, merge the oldest, list. `counters` does the same in SQL."""

from collections.abc import Iterable, Mapping

from onhook.ledger.contract import Counter, CounterKey
from onhook.ledger.counters import COUNTERS_MAX, OTHER_LABEL


def add_counts(
    counters: Iterable[Counter], counts: Mapping[CounterKey, int], now_us: int, peers: Mapping[CounterKey, str]
) -> list[Counter]:
    """Return the counters of a kind with these counts, at most 1,000: the least recently updated ones are merged."""
    added = [
        Counter(key.kind, key.sn, key.label, count, now_us, now_us, peers.get(key, "")) for key, count in counts.items()
    ]
    by_key = _sum([*counters, *added])
    if len(by_key) <= COUNTERS_MAX:
        return list(by_key.values())
    unmerged = sorted(
        (counter for counter in by_key.values() if counter.label != OTHER_LABEL), key=lambda counter: counter.last_at
    )
    oldest = unmerged[: len(by_key) - COUNTERS_MAX + 1]
    merged = {(counter.sn, counter.label) for counter in oldest}
    merged_counters = [Counter(item.kind, "", OTHER_LABEL, *_values(item)) for item in oldest]
    return list(_sum([*(item for key, item in by_key.items() if key not in merged), *merged_counters]).values())


def subtract_counts(counters: Iterable[Counter], counts: Mapping[CounterKey, int]) -> list[Counter]:
    """Return the counters of a kind without these counts; those that fall to 0 are left out."""
    result = []
    for counter in counters:
        count = counter.count - counts.get(CounterKey(counter.kind, counter.sn, counter.label), 0)
        if count > 0:
            result.append(Counter(counter.kind, counter.sn, counter.label, count, *_values(counter)[1:]))
    return result


def list_latest(counters_by_kind: Iterable[Iterable[Counter]]) -> list[Counter]:
    """Return the latest counters, the latest first; where there are more than 1,000, as many of each kind."""
    ranked: list[tuple[int, Counter]] = []
    for counters in counters_by_kind:
        ranked += enumerate(sorted(counters, key=lambda item: (-item.last_at, item.sn, item.label)))
    latest = [counter for _rank, counter in sorted(ranked, key=lambda item: item[0])[:COUNTERS_MAX]]
    return sorted(latest, key=lambda item: (-item.last_at, item.kind, item.sn, item.label))


def _sum(counters: Iterable[Counter]) -> dict[tuple[str, str], Counter]:
    by_key: dict[tuple[str, str], Counter] = {}
    for counter in counters:
        first = by_key.get((counter.sn, counter.label))
        by_key[counter.sn, counter.label] = counter if first is None else _add(first, counter)
    return by_key


def _add(counter: Counter, added: Counter) -> Counter:
    keeps_peer = added.last_at < counter.last_at or not added.last_peer
    return Counter(
        counter.kind,
        counter.sn,
        counter.label,
        counter.count + added.count,
        min(counter.first_at, added.first_at),
        max(counter.last_at, added.last_at),
        counter.last_peer if keeps_peer else added.last_peer,
    )


def _values(counter: Counter) -> tuple[int, int, int, str]:
    return counter.count, counter.first_at, counter.last_at, counter.last_peer
