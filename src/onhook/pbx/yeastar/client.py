"""The client of a P-Series, composed of its parts; see the contract `pbx.client.PbxClient`."""

from collections.abc import Generator, Iterable, Mapping, Sequence

import msgspec

from onhook.pbx.client import (
    ORDINARY_FILE,
    CallIdRequest,
    ClientCredentials,
    FileSurvey,
    ListingPage,
    ListingReply,
    ListingSteps,
    NameListSteps,
    PbxRequest,
    PbxResponse,
    PbxWebhookConfig,
    StoredLeg,
    SystemFacts,
    TimeWindow,
    TokenStep,
)
from onhook.pbx.yeastar import answers, file_rows, listing, names, rows, tokens
from onhook.pbx.yeastar.answers import API_PATH
from onhook.pbx.yeastar.session import YeastarPushChannel


class YeastarClient:
    """The stateless client of a P-Series: every method works on its arguments alone."""

    push_path = f"{API_PATH}subscribe"

    def next_step(self, saved_tokens: str, credentials: ClientCredentials, now: float) -> TokenStep:
        return tokens.next_step(_decode_tokens(saved_tokens), credentials, now)

    def begin_step(self, saved_tokens: str, step: TokenStep, now: float) -> str:
        return _encode_tokens(tokens.begin_step(_decode_tokens(saved_tokens), step, now))

    def finish_step(self, saved_tokens: str, step: TokenStep, response: PbxResponse, now: float, jitter: float) -> str:
        return _encode_tokens(tokens.finish_step(_decode_tokens(saved_tokens), step, response, now, jitter=jitter))

    def reject_token(self, saved_tokens: str, token: str, now: float, jitter: float) -> str:
        return _encode_tokens(tokens.reject_token(_decode_tokens(saved_tokens), token, now, jitter=jitter))

    def replaced_token_revocation(self, saved_tokens: str) -> TokenStep | None:
        return tokens.replaced_token_revocation(_decode_tokens(saved_tokens))

    def revocation_steps(self, saved_tokens: str, now: float) -> Sequence[TokenStep]:
        return tokens.revocation_steps(_decode_tokens(saved_tokens), now)

    def parse_response(self, status: int, body: bytes) -> PbxResponse:
        return answers.parse_response(status, body)

    def facts_request(self) -> PbxRequest:
        return answers.facts_request()

    def parse_facts(self, response: PbxResponse) -> SystemFacts:
        return answers.parse_facts(response)

    def token_check_requests(self) -> Sequence[PbxRequest]:
        return answers.token_check_requests()

    def webhooks_request(self) -> PbxRequest:
        return answers.webhooks_request()

    def parse_webhooks(self, response: PbxResponse) -> PbxWebhookConfig:
        return answers.parse_webhooks(response)

    def create_push_channel(self) -> YeastarPushChannel:
        return YeastarPushChannel()

    def list_calls(self, sn: str, window: TimeWindow, facts: SystemFacts, *, rows_max: int) -> ListingSteps:
        return listing.list_calls(listing.ListingSource(sn=sn, facts=facts, rows_max=rows_max), window)

    def list_names(self) -> NameListSteps:
        return names.list_names()

    def survey_file(self, rows: Iterable[Mapping[str, str]]) -> FileSurvey:
        return file_rows.survey_file(rows)

    def format_file_row(
        self,
        sn: str,
        row: Mapping[str, str],
        date_format: str,
        call_id: str,
        *,
        survey: FileSurvey = ORDINARY_FILE,
        stored_legs: Sequence[StoredLeg] = (),
    ) -> bytes:
        file = rows.FileContext(is_rounded=survey.is_rounded, start=file_rows.find_start(row, survey, stored_legs))
        context = rows.RowContext(sn=sn, date_format=date_format, call_id=call_id, file=file)
        return rows.wrap_row(msgspec.json.encode(row), context)

    def get_file_row_uid(self, row: Mapping[str, str], survey: FileSurvey = ORDINARY_FILE) -> str:
        return file_rows.find_lookup_uid(row, survey)

    def recognizes_headings(self, names: Sequence[str]) -> bool:
        members = rows.normalize_names(dict.fromkeys(names, "-"))
        return all(any(heading in members for heading in alternatives) for alternatives in rows.REQUIRED_HEADINGS)

    def count_calls(
        self, window: TimeWindow, facts: SystemFacts
    ) -> Generator[PbxRequest | CallIdRequest | ListingPage, ListingReply, int | None]:
        return listing.count_calls(listing.ListingSource(sn="", facts=facts), window)


def _decode_tokens(saved_tokens: str) -> tokens.TokenState:
    """Decode the token state. Return an empty one for the format of another version, which costs one login."""
    try:
        return msgspec.json.decode(saved_tokens, type=tokens.TokenState) if saved_tokens else tokens.TokenState()
    except msgspec.DecodeError:
        return tokens.TokenState()


def _encode_tokens(state: tokens.TokenState) -> str:
    return msgspec.json.encode(state).decode()
