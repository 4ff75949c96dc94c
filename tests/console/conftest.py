"""A running console: ledger, application database and store in files, the web server on the loopback."""

import shutil
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from litestar import Litestar

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbx_facts import AppDbPbxFacts
from onhook.cdr.call_details import CallDetails
from onhook.cdr.queue_states import QueueState
from onhook.config import Address, Config
from onhook.console.actions import ConsoleActions, DeliveryActions, ErasureActions
from onhook.console.app import create_app_state, create_routes
from onhook.console.auth.failures import PasswordTries, ResetRequests, WrongTokens
from onhook.console.state import AppState
from onhook.delivery.destinations.opening import destination_opener
from onhook.delivery.dispatcher import send_test_by_name
from onhook.delivery.mail_sender import send_test_mail
from onhook.delivery.metrics import AttemptMetrics
from onhook.delivery.preview import preview_notification
from onhook.ledger.contract import LedgerEntry
from onhook.ledger.facts_publisher import FactsPublisher
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.proxies import TrustedProxies
from onhook.ops.quarantine_retry import QuarantineRetrier
from onhook.ops.rebuild import order_rebuild
from onhook.pbx.registry import dialects
from onhook.projector.projector import Projector
from onhook.runtime.adapters.actions import ConsoleActionRunner
from onhook.runtime.adapters.erasure import create_eraser
from onhook.runtime.engines import ENGINES
from onhook.runtime.http_server import HttpServer
from onhook.store.duckdb import DuckDbStore, open_store
from onhook.store.position_notifier import PositionNotifier
from onhook.store.sql.runner import SqlProcessRunner
from tests.factories import PBX, SN

SECRET = "0123456789abcdefghijABCDEFGHIJ01"


class ConsoleHarness:
    """The parts of a running console, and a client that is signed in."""

    def __init__(
        self, config: Config, ledger: SqliteLedger, appdb: AppDb, store: DuckDbStore, projector: Projector
    ) -> None:
        self.config = config
        self.ledger = ledger
        self.appdb = appdb
        self.store = store
        self.projector = projector
        self.clock = SystemClock()
        self.feed = PositionNotifier()
        self.admin_token = ""
        self.url = ""
        self.delivery_metrics: dict[int, AttemptMetrics] = {}
        self.queue_states: dict[str, list[QueueState]] = {}
        self.app_state: AppState
        self._keys = count(1)

    async def read_queues(self) -> dict[str, list[QueueState]]:
        """Return the queues at this moment."""
        return self.queue_states

    async def ingest_details(self, details: Iterable[CallDetails], sn: str = SN) -> None:
        """Store events of a PBX; when this returns, they are in the store and announced."""
        dialect = dialects()["yeastar"]
        await self.ingest_bodies([dialect.format(item, sn, "p-2026") for item in details], sn)

    async def ingest_bodies(self, bodies: Iterable[bytes], sn: str = SN) -> None:
        """Store bodies of a PBX, like `ingest_details`."""
        await self.append_to_ledger(bodies, sn)
        self.feed.announce(await self.projector.catch_up())

    async def publish(self) -> None:
        """Publish the facts of the PBXs, as the hub and the intake do."""
        await FactsPublisher(self.ledger, AppDbPbxFacts(self.appdb), self.clock).publish()
        await self.projector.catch_up()

    async def append_to_ledger(self, bodies: Iterable[bytes], sn: str = SN) -> None:
        """Append bodies of a PBX to the ledger only."""
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

    @asynccontextmanager
    async def client(self, token: str | None = None, **options: Any) -> AsyncIterator[aiohttp.ClientSession]:
        """Yield a client with the administrator's token, or another; the empty one sends none. Responses of which a
        test reads the status alone are closed at the end.
        """
        token_text = self.admin_token if token is None else token
        headers = {"Authorization": f"Bearer {token_text}"} if token_text else {}
        responses: list[aiohttp.ClientResponse] = []

        async def keep(_session: object, _context: object, end: aiohttp.TraceRequestEndParams) -> None:
            responses.append(end.response)

        trace_config = aiohttp.TraceConfig()
        trace_config.on_request_end.append(keep)
        options |= {"headers": headers | options.get("headers", {}), "trace_configs": [trace_config]}
        async with aiohttp.ClientSession(self.url, **options) as session:
            yield session
            for response in responses:
                response.close()

    @asynccontextmanager
    async def open_other_hub(self) -> AsyncIterator[tuple[str, AppDb]]:
        """Yield the address of a second hub with the same users, or of the same hub after a restart; and its connection
        to the application database.
        """
        async with AppDb(self.config.appdb_file) as appdb:
            app_state = msgspec.structs.replace(
                self.app_state,
                appdb=appdb,
                password_tries=PasswordTries(self.clock, appdb.failed_logins),
                wrong_tokens=WrongTokens(appdb.failed_logins),
                reset_requests=ResetRequests(appdb.failed_logins),
            )
            with _borrow_app(app_state) as app:
                async with HttpServer(app, self.config.console, TrustedProxies(())) as server:
                    yield f"http://127.0.0.1:{server.port}", appdb


_prepared_directories: list[TemporaryDirectory[str]] = []
"""Data with one PBX, which each console gets a copy of: to create the files takes longer than most tests."""


async def _prepared_data() -> Path:
    if not _prepared_directories:
        directory = TemporaryDirectory(prefix="onhook-console-")
        config, clock = Config(data=Path(directory.name)), SystemClock()
        async with AppDb(config.appdb_file) as appdb:
            await appdb.tokens.ensure_admin(config.admin_token_file, now_us=clock.microseconds())
            await appdb.add_pbx(name=PBX, sn=SN, secret=SECRET, now_us=clock.microseconds())
            ledger, store = SqliteLedger(config.ledger_file), await open_store(config.store_file)
            await FactsPublisher(ledger, AppDbPbxFacts(appdb), clock).publish()
            await Projector(ledger=ledger, store=store, dialects=dialects(), clock=clock).catch_up()
            await store.close()
            await ledger.close()
        _prepared_directories.append(directory)
    return Path(_prepared_directories[0].name)


@asynccontextmanager
async def open_console_harness(
    directory: Path,
    *,
    intake: Address = Address("0.0.0.0", 30012),  # noqa: B008, S104 - frozen; not listened on
    **settings: Any,
) -> AsyncIterator[ConsoleHarness]:
    """Yield a listening console with all its parts; `settings` are further ones of the configuration."""
    config = Config(
        data=directory,
        console=Address("127.0.0.1", 0),
        intake=intake,
        zone="Europe/Berlin",
        console_names="calls.example.com",
        **settings,
    )
    shutil.copytree(await _prepared_data(), directory, dirs_exist_ok=True)
    appdb, ledger = AppDb(config.appdb_file), SqliteLedger(config.ledger_file)
    store = await open_store(config.store_file)
    projector = Projector(ledger=ledger, store=store, dialects=dialects(), clock=SystemClock())
    harness = ConsoleHarness(config, ledger, appdb, store, projector)
    harness.admin_token = config.admin_token_file.read_text().strip()
    action_runner = ConsoleActionRunner(config, appdb, harness.clock)
    publisher = FactsPublisher(ledger, AppDbPbxFacts(appdb), harness.clock)
    sql_runner = SqlProcessRunner(config.store_file, config.sql_directory, harness.clock)
    eraser = create_eraser(config, appdb=appdb, ledger=ledger, store=store, projector=projector, clock=SystemClock())
    app_state = create_app_state(
        store=store,
        sql_runner=sql_runner,
        ledger=ledger,
        appdb=appdb,
        clock=harness.clock,
        config=config,
        position_notifier=harness.feed,
        retry_parsing=QuarantineRetrier(projector, appdb, harness.clock).retry,
        delivery_actions=DeliveryActions(
            send_test=partial(send_test_by_name, appdb, destination_opener(config), harness.clock, log_days=30),
            preview=partial(preview_notification, appdb, store, destination_opener(config)),
            delivery_metrics=lambda: harness.delivery_metrics,
        ),
        erasure=ErasureActions(preview=eraser.preview, erase=eraser.erase, list_erasures=eraser.list_erasures),
        actions=ConsoleActions(
            send_test_event=action_runner.send_test_event,
            run_pbx_checks=action_runner.run_pbx_checks,
            start_simulated_pbx=action_runner.start_simulated_pbx,
            fetch_certificate=action_runner.fetch_certificate,
            rebuild=partial(order_rebuild, config, publisher, projector, ENGINES),
            restrict_permissions=action_runner.restrict_permissions,
            send_test_mail=partial(send_test_mail, config, appdb, harness.clock),
        ),
        read_live_queues=harness.read_queues,
    )
    harness.app_state = app_state
    try:
        with _borrow_app(app_state) as app:
            async with HttpServer(app, config.console, TrustedProxies(config.trusted_proxy_networks)) as server:
                harness.url = f"http://127.0.0.1:{server.port}"
                try:
                    yield harness
                finally:
                    harness.feed.close()
    finally:
        await action_runner.close()
        await sql_runner.close()
        await store.close()
        await ledger.close()
        await appdb.close()


_free_apps: list[Litestar] = []
"""Applications without state: to create the routes takes longer than most tests."""


@contextmanager
def _borrow_app(app_state: AppState) -> Iterator[Litestar]:
    app = _free_apps.pop() if _free_apps else create_routes()
    app.state.app_state = app_state
    try:
        yield app
    finally:
        _free_apps.append(app)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[ConsoleHarness]:
    """Yield a running console without calls."""
    async with open_console_harness(tmp_path) as opened_harness:
        yield opened_harness


@pytest.fixture
async def client(harness: ConsoleHarness) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a client with the administrator's token."""
    async with harness.client() as session:
        yield session


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_harness(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ConsoleHarness]:
    """Yield one running console for the tests of a module that leave no data behind; they are marked `module_loop`."""
    async with open_console_harness(tmp_path_factory.mktemp("data")) as opened_harness:
        yield opened_harness


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_client(module_harness: ConsoleHarness) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield its client with the administrator's token."""
    async with module_harness.client() as session:
        yield session


module_loop = pytest.mark.asyncio(loop_scope="module")
"""For tests with the `module_harness`: starting a console takes longer than most requests to it."""
