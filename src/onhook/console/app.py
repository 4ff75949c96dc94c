"""The console's application."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from litestar import Litestar, Router
from litestar.exceptions import HTTPException

from onhook.appdb.appdb import AppDb
from onhook.cdr.queue_states import QueueState
from onhook.config import Config
from onhook.console import health, parameters, problem_documents
from onhook.console.actions import ConsoleActions, DeliveryActions, ErasureActions
from onhook.console.api import (
    alerts,
    apps,
    audit,
    calls,
    coverage,
    deliveries,
    destination_log,
    destinations,
    directory,
    erasures,
    export,
    identity_provider,
    live,
    mails,
    missed_calls,
    notes,
    pbxs,
    quarantine,
    queue_targets,
    recordings,
    report_schedules,
    saved_questions,
    saved_searches,
    sql,
    summary,
    unreadable_rows,
    users,
)
from onhook.console.api import issues as issues_api
from onhook.console.auth.access import NEEDS_TOKEN, authorize, identify_reader
from onhook.console.auth.failures import PasswordTries, ResetRequests, WrongTokens
from onhook.console.auth.headers import add_response_headers
from onhook.console.auth.provider_client import ProviderClient
from onhook.console.compression import compression_config
from onhook.console.concurrency_limiter import ConcurrencyLimiter
from onhook.console.export_jobs import ExportJobs
from onhook.console.head_requests import HeadRequestLitestar
from onhook.console.live.live_tail import LiveTail
from onhook.console.pages import about, account, assets, first_account, issues, second_factor, sign_in
from onhook.console.pages import add_pbx as add_pbx_pages
from onhook.console.pages import alerts as alert_pages
from onhook.console.pages import apps as app_pages
from onhook.console.pages import call as call_page
from onhook.console.pages import call_tags as call_tag_pages
from onhook.console.pages import calls as calls_page
from onhook.console.pages import destination_editing as destination_editing_pages
from onhook.console.pages import destination_log as destination_log_pages
from onhook.console.pages import destinations as destination_pages
from onhook.console.pages import directory as directory_pages
from onhook.console.pages import erasure as erasure_pages
from onhook.console.pages import forgotten_password as forgotten_password_pages
from onhook.console.pages import mail as mail_pages
from onhook.console.pages import missed_inbox as missed_inbox_pages
from onhook.console.pages import passkeys as passkey_pages
from onhook.console.pages import pbx_connection as pbx_connection_pages
from onhook.console.pages import pbx_files as pbx_file_pages
from onhook.console.pages import pbx_recordings as pbx_recording_pages
from onhook.console.pages import pbxs as pbx_pages
from onhook.console.pages import provider as provider_pages
from onhook.console.pages import provider_settings as provider_settings_pages
from onhook.console.pages import quarantine as quarantine_pages
from onhook.console.pages import queue_targets as queue_target_pages
from onhook.console.pages import reader_settings as reader_settings_pages
from onhook.console.pages import remedies as remedy_pages
from onhook.console.pages import report_schedules as report_schedule_pages
from onhook.console.pages import retention as retention_pages
from onhook.console.pages import saved_questions as saved_question_pages
from onhook.console.pages import saved_searches as saved_search_pages
from onhook.console.pages import sign_in_code as sign_in_code_pages
from onhook.console.pages import sign_in_settings as sign_in_settings_pages
from onhook.console.pages import sql as sql_page
from onhook.console.pages import suggestions as suggestion_pages
from onhook.console.pages import unsubscribe as unsubscribe_pages
from onhook.console.pages import users as user_pages
from onhook.console.pages.api_page import openapi_config
from onhook.console.pages.dashboards import data as dashboard_data
from onhook.console.pages.dashboards import page as dashboard_pages
from onhook.console.pages.dashboards import saved as saved_dashboard_pages
from onhook.console.pages.dashboards import wallboard as wallboard_pages
from onhook.console.pages.invalid_forms import render_invalid_form
from onhook.console.pages.reports import page as report_routes
from onhook.console.reader import choose_language, load_settings_of_error
from onhook.console.request_coalescing import RequestCoalescer
from onhook.console.state import AppState, ResponseCounters, RetryParsing
from onhook.ledger.contract import Ledger
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.store.contract import Store
from onhook.store.position_notifier import PositionNotifier
from onhook.store.sql.contract import SqlRunner

BODY_BYTES_MAX = 64 * 1024
"""The largest body is a PBX with its number plan: some kilobytes."""


def console_app(app_state: AppState) -> Litestar:
    """Return the console as an ASGI application. The hub announces each new position to `position_notifier` and closes
    it before the server.
    """
    app = create_routes()
    app.state.app_state = app_state
    return app


async def _read_no_queues() -> Mapping[str, Sequence[QueueState]]:
    return {}


def create_app_state(
    *,
    store: Store,
    sql_runner: SqlRunner,
    ledger: Ledger,
    appdb: AppDb,
    clock: Clock,
    config: Config,
    position_notifier: PositionNotifier,
    retry_parsing: RetryParsing,
    delivery_actions: DeliveryActions,
    actions: ConsoleActions,
    erasure: ErasureActions,
    count_flooding_sockets: Callable[[], int] = lambda: 0,
    read_live_queues: Callable[[], Awaitable[Mapping[str, Sequence[QueueState]]]] = _read_no_queues,
) -> AppState:
    """Return the dependencies of the routes, with limits and caches that are empty."""
    return AppState(
        store=store,
        unmasked_store=store,
        sql_runner=sql_runner,
        ledger=ledger,
        appdb=appdb,
        clock=clock,
        config=config,
        position_notifier=position_notifier,
        retry_parsing=retry_parsing,
        delivery_actions=delivery_actions,
        actions=actions,
        erasure=erasure,
        live_tail=LiveTail(store, position_notifier),
        live_limiter=ConcurrencyLimiter(live.LISTENERS_MAX),
        export_limiter=ConcurrencyLimiter(export.EXPORTS_MAX),
        playback_limiter=ConcurrencyLimiter(recordings.PLAYERS_MAX),
        export_jobs=ExportJobs(),
        password_tries=PasswordTries(clock, appdb.failed_logins),
        wrong_tokens=WrongTokens(appdb.failed_logins),
        reset_requests=ResetRequests(appdb.failed_logins),
        provider_client=ProviderClient(clock, config.private_networks),
        response_counters=ResponseCounters(),
        coalescer=RequestCoalescer(),
        directory=appdb.names,
        count_flooding_sockets=count_flooding_sockets,
        read_live_queues=read_live_queues,
    )


def create_routes() -> Litestar:
    """Return the application without its state, `state.app_state`."""
    app = HeadRequestLitestar(
        route_handlers=[_api_router(), _page_router()],
        dependencies=parameters.dependencies(),
        guards=[authorize, choose_language, parameters.reject_unknown_parameters],
        exception_handlers={
            OnhookError: problem_documents.handle_onhook_error,
            HTTPException: problem_documents.handle_http_error,
            Exception: problem_documents.handle_unexpected_error,
        },
        after_exception=[identify_reader, load_settings_of_error, render_invalid_form],
        before_send=[add_response_headers],
        openapi_config=openapi_config(),
        compression_config=compression_config(),
        request_max_body_size=BODY_BYTES_MAX,
        logging_config=None,
    )
    app.state.known_parameters = parameters.known_parameters(app)
    return app


def _api_router() -> Router:
    return Router(
        path="/api/v1",
        security=NEEDS_TOKEN,
        route_handlers=[
            calls.list_records,
            calls.read_raw_event,
            calls.list_calls,
            calls.read_call,
            summary.summarise,
            sql.query_sql,
            sql.list_tables,
            *saved_questions.ROUTES,
            *export.ROUTES,
            live.listen,
            recordings.read_recording,
            *notes.ROUTES,
            *missed_calls.ROUTES,
            *saved_searches.ROUTES,
            report_routes.read_call_report,
            *dashboard_data.ROUTES,
            *queue_targets.ROUTES,
            *users.ROUTES,
            *mails.ROUTES,
            *report_schedules.ROUTES,
            *alerts.ROUTES,
            *identity_provider.ROUTES,
            audit.list_audit,
            unreadable_rows.list_unreadable_rows,
            *issues_api.ROUTES,
            apps.list_apps,
            apps.read_app,
            apps.add_app,
            apps.change_app,
            apps.remove_app,
            apps.renew_app_secret,
            apps.list_blocked_addresses,
            apps.unblock_addresses,
            pbxs.list_pbxs,
            pbxs.read_pbx,
            pbxs.add_pbx,
            pbxs.change_pbx,
            pbxs.add_serial_number,
            pbxs.read_conventions,
            pbxs.put_conventions,
            pbxs.remove_serial_number,
            pbxs.remove_pbx,
            pbxs.run_pbx_checks,
            pbxs.list_secrets,
            pbxs.add_secret,
            pbxs.remove_secret,
            coverage.read_coverage,
            coverage.list_alarms,
            coverage.request_backfill,
            coverage.read_backfill,
            quarantine.list_quarantine,
            quarantine.read_quarantined,
            quarantine.retry_quarantined,
            quarantine.list_rejections,
            *directory.ROUTES,
            *erasures.ROUTES,
            *destinations.ROUTES,
            *destination_log.ROUTES,
            *deliveries.ROUTES,
        ],
    )


def _page_router() -> Router:
    return Router(
        path="/",
        route_handlers=[
            health.healthz,
            health.readyz,
            health.metrics,
            dashboard_pages.dashboard_page,
            *saved_dashboard_pages.ROUTES,
            *wallboard_pages.ROUTES,
            calls_page.calls_page,
            *call_tag_pages.ROUTES,
            *missed_inbox_pages.ROUTES,
            *suggestion_pages.ROUTES,
            *call_page.ROUTES,
            *saved_search_pages.ROUTES,
            export.read_progress,
            *quarantine_pages.ROUTES,
            *directory_pages.ROUTES,
            *erasure_pages.ROUTES,
            issues.alarms_page,
            about.about_page,
            *sql_page.ROUTES,
            *saved_question_pages.ROUTES,
            *pbx_pages.ROUTES,
            *add_pbx_pages.ROUTES,
            *pbx_connection_pages.ROUTES,
            *pbx_file_pages.ROUTES,
            *pbx_recording_pages.ROUTES,
            *retention_pages.ROUTES,
            *mail_pages.ROUTES,
            *report_schedule_pages.ROUTES,
            *unsubscribe_pages.ROUTES,
            *reader_settings_pages.ROUTES,
            issues.issues_page,
            *remedy_pages.ROUTES,
            issues.raw_event_page,
            report_routes.reports_page,
            report_routes.reports_file,
            *queue_target_pages.ROUTES,
            *destination_pages.ROUTES,
            *destination_editing_pages.ROUTES,
            *destination_log_pages.ROUTES,
            sign_in.sign_in_by_link,
            sign_in.sign_in_by_form,
            sign_in.sign_out,
            sign_in.invitation_page,
            sign_in.accept_invitation,
            *forgotten_password_pages.ROUTES,
            *sign_in_code_pages.ROUTES,
            *sign_in_settings_pages.ROUTES,
            *account.ROUTES,
            *second_factor.ROUTES,
            *passkey_pages.ROUTES,
            *alert_pages.ROUTES,
            *provider_pages.ROUTES,
            *provider_settings_pages.ROUTES,
            *first_account.ROUTES,
            *user_pages.ROUTES,
            *app_pages.ROUTES,
            assets.read_asset,
        ],
    )
