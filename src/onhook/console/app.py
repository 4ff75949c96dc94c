"""The console put together."""

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.exceptions import HTTPException

from onhook.appdb.appdb import Settings
from onhook.config import Config
from onhook.console import health, parameters, problem_documents
from onhook.console.actions import Acts
from onhook.console.api import (
    apps,
    audit,
    calls,
    coverage,
    deliveries,
    destinations,
    export,
    live,
    notes,
    pbxs,
    quarantine,
    recordings,
    records,
    saved_searches,
    summary,
    users,
)
from onhook.console.auth.access import NEEDS_TOKEN, let_in
from onhook.console.auth.failures import Failures
from onhook.console.auth.headers import finish_headers
from onhook.console.auth.sessions import Sessions
from onhook.console.compression import packing
from onhook.console.export_jobs import Exporting
from onhook.console.head_requests import WithHeads
from onhook.console.live.live_tail import Tail
from onhook.console.metrics import Counters
from onhook.console.pages import assets, dashboard, issues, sign_in
from onhook.console.pages import call as call_page
from onhook.console.pages import calls as calls_page
from onhook.console.pages import destinations as destination_pages
from onhook.console.pages import pbxs as pbx_pages
from onhook.console.pages import quarantine as quarantine_pages
from onhook.console.pages import saved_searches as saved_search_pages
from onhook.console.pages import sql as sql_page
from onhook.console.pages import users as user_pages
from onhook.console.pages.api_page import openapi_config
from onhook.console.pages.reports import page as report_routes
from onhook.console.queries.destinations import Sending
from onhook.console.request_coalescing import Shared
from onhook.console.semaphores import Places
from onhook.console.state import ReadAgain, Rooms
from onhook.ledger.contract import Ledger
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.store.contract import Store
from onhook.store.position_notifier import Feed

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
            OnhookError: problem_documents.on_our_error,
            HTTPException: problem_documents.on_http_error,
            Exception: problem_documents.on_any_error,
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
            *saved_searches.ROUTES,
            report_routes.read_call_report,
            *users.ROUTES,
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
            *destinations.ROUTES,
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
            dashboard.now_page,
            calls_page.calls_page,
            *call_page.ROUTES,
            *saved_search_pages.ROUTES,
            export.read_progress,
            *quarantine_pages.ROUTES,
            *sql_page.ROUTES,
            *pbx_pages.ROUTES,
            issues.attention_page,
            issues.report_page,
            report_routes.reports_page,
            report_routes.reports_file,
            *destination_pages.ROUTES,
            sign_in.sign_in_by_link,
            sign_in.sign_in_by_form,
            sign_in.sign_out,
            sign_in.invited,
            sign_in.accept,
            *user_pages.ROUTES,
            assets.read_asset,
        ],
    )
