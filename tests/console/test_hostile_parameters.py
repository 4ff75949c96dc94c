"""Every query parameter of every page and route with values that no form sends: never an internal error."""

import asyncio
import re
from collections.abc import Iterator, Sequence

import aiohttp
import pytest

from onhook.cdr.call_filter import CALL_FILTER_NAMES
from onhook.cdr.record_filter import FILTER_NAMES
from onhook.console.app import create_routes
from onhook.console.parameters import known_parameters
from tests.console.conftest import ConsoleHarness
from tests.console.test_reports import AUTUMN, some_calls
from tests.factories import SN

DATES = (
    *("0001-01-01", "0001-01-02", "9999-12-31", "0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00"),
    *("1970-01-01", "2100-12-31", "9999w", "yesterday", "2026-02-30"),
)
TEXTS = ("%20", "%00", "%F0%9F%98%80", "!", "department:", "a" * 200)
VALUES = (
    *(
        *DATES,
        *TEXTS,
        "0",
        "-1",
        "12",
        "99999999999999999999",
        "1e9",
        "NaN",
        "%FF",
        "%D9%A3",
        "%C2%B2",
        "year",
        "previous",
    ),
    *(",", "site:%20", "{}", "'", "%25", "*", "../..", "=", "a%3Db,c"),
)
"""Encoded: blanks, signs, digits of other scripts, ends of calendars, and separators alone."""

TIME_NAMES = {"since", "until", "under_way_at", "ended_since"}
SHARED_NAMES = {*FILTER_NAMES, *CALL_FILTER_NAMES, "tag", "note", "q", "zone"} - TIME_NAMES
"""Filters, which many routes read by the same code: fewer values for each route."""

PERIODS = (
    "since=0001-01-02&until=0001-01-03",
    "since=2026-04-01&until=9999-12-31",
    "since=1970-01-01&until=1970-01-02",
)

CONCURRENT = 8


def list_values(name: str) -> Sequence[str]:
    """Return the values that a parameter is tried with."""
    return (*DATES, *TEXTS) if name in TIME_NAMES else TEXTS if name in SHARED_NAMES else VALUES


def fill(path: str) -> str:
    """Return a path with parameters of things that exist, as far as there is one kind of them."""
    filled = path.replace("{sn:str}", SN).replace("{call_id:str}", "1777287876.1")
    return re.sub(r"\{[^}]*\}", "office", re.sub(r"\{\w+:int\}", "1", filled))


def list_routes() -> Iterator[tuple[str, Sequence[str]]]:
    """Return the path and the query parameters of each page and route that is read."""
    for (method, path), names in sorted(known_parameters(create_routes()).items()):
        if method == "GET" and names:
            yield fill(path), sorted(names)


async def list_errors(client: aiohttp.ClientSession, addresses: Sequence[str]) -> list[str]:
    """Return the addresses whose answer is an internal error; bodies, which may be without end, are not read."""
    errors: list[str] = []
    pending = list(reversed(addresses))

    async def read() -> None:
        while pending:
            address = pending.pop()
            async with client.get(address, allow_redirects=False) as answer:
                if answer.status == 500:
                    errors.append(address)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CONCURRENT):
            tasks.create_task(read())
    return errors


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_no_value_of_any_parameter_is_an_internal_error(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    await harness.ingest_details(some_calls(AUTUMN))
    addresses = [
        f"{path}?{name}={value}" for path, names in list_routes() for name in names for value in list_values(name)
    ]
    addresses += [
        f"{path}?{period}{compare}"
        for path, names in list_routes()
        if {"since", "until"} <= set(names)
        for period in PERIODS
        for compare in (("", "&compare=year", "&compare=previous") if "compare" in names else ("",))
    ]
    assert len(addresses) > 5_000
    assert await list_errors(client, addresses) == []


@pytest.mark.parametrize(
    ("address", "parameter"),
    [
        ("/?since=0001-01-02", "since"),
        ("/?until=9999-12-31", "until"),
        ("/api/v1/dashboards?since=0001-01-02", "since"),
        ("/reports?report=volume&since=0001-01-02", "since"),
        ("/reports?report=volume&since=1001-01-01&until=1001-01-02&compare=year", "since"),
        ("/api/v1/reports?since=0001-01-01T00:00:00%2B00:00&until=0001-06-01&compare=year", "since"),
        ("/missed?until=9999-12-31", "until"),
        ("/api/v1/missed-calls?until=0001-01-02", "until"),
        ("/calls?weekday=%20", ""),
        ("/calls?weekday=12", "weekday"),
    ],
)
async def test_dates_that_no_call_has_are_errors_of_the_request(
    client: aiohttp.ClientSession, address: str, parameter: str
) -> None:
    """A weekday of a blank alone is none."""
    answer = await client.get(address)
    text = await answer.text()
    assert answer.status == (400 if parameter else 200), text
    assert parameter in text
