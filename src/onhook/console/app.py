"""The console put together."""

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.exceptions import HTTPException

from onhook.clock import Clock
from onhook.config import Config
from onhook.console import health, parameters, problems
from onhook.console.acts import Acts
from onhook.console.api import (
    apps,
    audit,
    calls,
    coverage,
    deliveries,
    export,
    live,
    notes,
    pbxs,
    people,
    quarantine,
    recordings,
    records,
    searches,
    subscriptions,
    summary,
)
from onhook.console.counters import Counters
from onhook.console.entrance.access import NEEDS_TOKEN, let_in
from onhook.console.entrance.failures import Failures
from onhook.console.entrance.headers import finish_headers
from onhook.console.entrance.sessions import Sessions
from onhook.console.exporting import Exporting
from onhook.console.feed import Feed
from onhook.console.heads import WithHeads
from onhook.console.packing import packing
from onhook.console.pages import assets, attention, now, saved, sign_in
from onhook.console.pages import call as call_page
from onhook.console.pages import calls as calls_page
from onhook.console.pages import keeping as keeping_pages
from onhook.console.pages import pbxs as pbx_pages
from onhook.console.pages import people as people_pages
from onhook.console.pages import sending as sending_pages
from onhook.console.pages import sql as sql_page
from onhook.console.pages.reports import page as report_routes
from onhook.console.pages.schema import openapi_config
from onhook.console.places import Places
from onhook.console.rooms import ReadAgain, Rooms
from onhook.console.sending import Sending
from onhook.console.shared import Shared
from onhook.console.tail import Tail
from onhook.errors import OnhookError
from onhook.ledger.ledger import Ledger
from onhook.settings.settings import Settings
from onhook.store.store import Store

BODY_BYTES_MAX = 64 * 1024
"""The largest body is a PBX with its number plan: some kilobytes."""


def console_app(
    *,
    store: Store,
    ledger: Ledger,
    settings: Settings,
    clock: Clock,
    config: Config,
    feed: Feed,
    read_again: ReadAgain,
    sending: Sending,
    acts: Acts,
) -> Litestar:
    """The console as an ASGI application. The hub tells `feed` of each new position and closes it before the server."""
    rooms = Rooms(
        store=store,
        ledger=ledger,
        settings=settings,
        clock=clock,
        config=config,
        feed=feed,
        read_again=read_again,
        sending=sending,
        acts=acts,
        tail=Tail(store, feed),
        listeners=Places(live.LISTENERS_MAX),
        exports=Places(export.EXPORTS_MAX),
        players=Places(recordings.PLAYERS_MAX),
        exporting=Exporting(),
        scrambling=Places(sign_in.SCRAMBLING_MAX),
        asking=Places(sql_page.ASKING_MAX),
        sessions=Sessions(),
        failures=Failures(),
        counters=Counters(),
        shared=Shared(),
    )
    app = WithHeads(
        route_handlers=[_api(), _rest()],
        dependencies={"rooms": Provide(lambda: rooms, sync_to_thread=False), **parameters.dependencies()},
        guards=[let_in, parameters.only_known],
        exception_handlers={
            OnhookError: problems.on_our_error,
            HTTPException: problems.on_http_error,
            Exception: problems.on_any_error,
        },
        before_send=[finish_headers],
        openapi_config=openapi_config(),
        compression_config=packing(),
        request_max_body_size=BODY_BYTES_MAX,
        logging_config=None,
    )
    app.state.rooms = rooms
    app.state.known_parameters = parameters.known_parameters(app)
    return app


def _api() -> Router:
    return Router(
        path="/api/v1",
        security=NEEDS_TOKEN,
        route_handlers=[
            records.list_records,
            records.read_report,
            calls.list_calls,
            calls.read_call,
            summary.summarise,
            *export.ROUTES,
            live.listen,
            recordings.read_recording,
            *notes.ROUTES,
            *searches.ROUTES,
            report_routes.read_call_report,
            *people.ROUTES,
            audit.list_audit,
            apps.list_apps,
            apps.read_app,
            apps.add_app,
            apps.remove_app,
            apps.renew_app,
            apps.list_blocked,
            apps.unblock_all,
            pbxs.list_pbxs,
            pbxs.read_pbx,
            pbxs.add_pbx,
            pbxs.remove_pbx,
            pbxs.examine,
            pbxs.list_secrets,
            pbxs.add_secret,
            pbxs.remove_secret,
            coverage.read_coverage,
            coverage.list_alarms,
            coverage.ask_for_backfill,
            coverage.read_backfill,
            quarantine.list_quarantine,
            quarantine.read_quarantined,
            quarantine.retry_quarantined,
            quarantine.list_tallies,
            *subscriptions.ROUTES,
            *deliveries.ROUTES,
        ],
    )


def _rest() -> Router:
    return Router(
        path="/",
        route_handlers=[
            health.healthz,
            health.readyz,
            health.metrics,
            now.now_page,
            calls_page.calls_page,
            *call_page.ROUTES,
            *saved.ROUTES,
            export.read_progress,
            *keeping_pages.ROUTES,
            *sql_page.ROUTES,
            *pbx_pages.ROUTES,
            attention.attention_page,
            attention.report_page,
            report_routes.reports_page,
            report_routes.reports_file,
            *sending_pages.ROUTES,
            sign_in.sign_in_by_link,
            sign_in.sign_in_by_form,
            sign_in.sign_out,
            sign_in.invited,
            sign_in.accept,
            *people_pages.ROUTES,
            assets.read_asset,
        ],
    )
