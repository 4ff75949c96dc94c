"""A console that really runs: ledger, settings and store in files, the web server on the loopback."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbx_facts import AppDbPbxFacts
from onhook.cdr.call_details import CallDetails
from onhook.config import Address, Config
from onhook.console.actions import ConsoleActions
from onhook.console.app import console_app
from onhook.console.queries.destinations import DeliveryActions
from onhook.delivery.destinations.registry import destination_kinds
from onhook.delivery.dispatcher import send_test_by_name
from onhook.delivery.metrics import AttemptMetrics
from onhook.ledger.contract import LedgerEntry
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.ops.quarantine_retry import QuarantineRetrier
from onhook.pbx.registry import dialects
from onhook.projector import Projector
from onhook.runtime.adapters.actions import ConsoleActionRunner
from onhook.runtime.http_server import run_server
from onhook.store.duckdb import DuckDbStore, open_store
from onhook.store.position_notifier import PositionNotifier
from tests.factories import PBX, SN

SECRET = "0123456789abcdefghijABCDEFGHIJ01"


class House:
    """The rooms around a running console, and a client that is let in."""

    def __init__(
        self, config: Config, ledger: SqliteLedger, settings: AppDb, store: DuckDbStore, projector: Projector
    ) -> None:
        self.config = config
        self.ledger = ledger
        self.settings = settings
        self.store = store
        self.projector = projector
        self.clock = SystemClock()
        self.feed = PositionNotifier()
        self.admin = settings.ensure_admin_token(config.admin_token_file, at=self.clock.microseconds())
        self.url = ""
        self.figures: dict[int, AttemptMetrics] = {}
        self._keys = count(1)

    async def report(self, details: Iterable[CallDetails], sn: str = SN) -> None:
        """A PBX reports these; they are in the store and announced when this returns."""
        dialect = dialects()["yeastar"]
        await self.report_bodies([dialect.write(one, sn, "p-2026") for one in details], sn)

    async def report_bodies(self, bodies: Iterable[bytes], sn: str = SN) -> None:
        """The same for any bytes."""
        await self.keep(bodies, sn)
        self.feed.announce(await self.projector.catch_up())

    async def keep(self, bodies: Iterable[bytes], sn: str = SN) -> None:
        """A PBX reports these; they are in the ledger alone."""
        entries = [
            LedgerEntry(
                sn=sn,
                dialect="yeastar",
                via="webhook",
                received_at=self.clock.microseconds(),
                key=next(self._keys).to_bytes(16, "big"),
                body=body,
                signature="signed",
                peer="127.0.0.1",
            )
            for body in bodies
        ]
        await self.ledger.append(entries)

    def client(self, token: str | None = None, **given: Any) -> aiohttp.ClientSession:
        """A client with the administrator's token, or another; the empty one sends none."""
        text = self.admin if token is None else token
        headers = {"Authorization": f"Bearer {text}"} if text else {}
        return aiohttp.ClientSession(self.url, headers=headers | given.pop("headers", {}), **given)


@asynccontextmanager
async def running_house(directory: Path, *, console_open: bool = False) -> AsyncIterator[House]:
    """Everything open, the console listening; closed in reverse."""
    config = Config(
        data=directory,
        console=Address("127.0.0.1", 0),
        zone="Europe/Berlin",
        console_open=console_open,
        console_names="calls.example.com",
    )
    settings, ledger = AppDb(config.settings_file), SqliteLedger(config.ledger_file)
    store = await open_store(config.store_file)
    projector = Projector(ledger=ledger, store=store, dialects=dialects(), facts_of=AppDbPbxFacts(settings))
    house = House(config, ledger, settings, store, projector)
    settings.add_pbx(name=PBX, sn=SN, secret=SECRET, at=house.clock.microseconds())
    acting = ConsoleActionRunner(config, settings, house.clock)
    app = console_app(
        store=store,
        ledger=ledger,
        settings=settings,
        clock=house.clock,
        config=config,
        feed=house.feed,
        read_again=QuarantineRetrier(projector, settings, house.clock).read_again,
        sending=DeliveryActions(
            try_out=partial(send_test_by_name, settings, destination_kinds(config), house.clock),
            figures=lambda: house.figures,
        ),
        acts=ConsoleActions(try_intake=acting.try_intake, examine=acting.examine, show_made_up=acting.show_made_up),
    )
    try:
        async with run_server(app, config.console) as served:
            house.url = f"http://127.0.0.1:{served.port}"
            try:
                yield house
            finally:
                house.feed.close()
    finally:
        await acting.close()
        await store.close()
        await ledger.close()
        settings.close()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A running console without a call."""
    async with running_house(tmp_path) as running:
        yield running


@pytest.fixture
async def client(house: House) -> AsyncIterator[aiohttp.ClientSession]:
    """A client with the administrator's token."""
    async with house.client() as session:
        yield session


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One running console for the tests of a module that leave nothing behind; they are marked `asks_only`."""
    async with running_house(tmp_path_factory.mktemp("house")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting_client(lasting_house: House) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of it with the administrator's token."""
    async with lasting_house.client() as session:
        yield session


asks_only = pytest.mark.asyncio(loop_scope="module")
"""For tests with the `lasting_house`: starting a console takes longer than most questions to it."""
