"""Requests made of templates, and what is refused when a destination is set."""

from typing import Any

import msgspec
import pytest

from onhook.appdb.destination_spec import DestinationSpec, validate_spec
from onhook.delivery.destinations.http_request import RequestTemplates
from onhook.delivery.destinations.http_transport import OutgoingRequest
from onhook.delivery.destinations.kinds import check_kind
from onhook.delivery.template_functions import TemplateFailed
from onhook.lib.errors import UsageError
from tests.factories import record


def make_spec(url: str = "https://api.example.com/v1", **fields: Any) -> DestinationSpec:
    return DestinationSpec(kind="http", url=url, fields=fields)


def render(spec: DestinationSpec, **changes: Any) -> OutgoingRequest:
    return RequestTemplates(spec).render(msgspec.json.encode(record(**changes)), notification_id="id-1")


def test_request_default_is_the_call_as_json() -> None:
    spec = validate_spec(make_spec())
    check_kind(spec)
    request = render(spec, call_from='Bob "B"<1001>')
    assert (request.method, str(request.url)) == ("POST", "https://api.example.com/v1")
    assert msgspec.json.decode(request.body or b"")["call_from"] == 'Bob "B"<1001>'
    assert request.headers == {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/calls/{{ call.call_to }}", "https://api.example.com/v1/calls/Bob%3C1002%3E"),
        ("?a={{ call.call_to|number }}", "https://api.example.com/v1?a=1002"),
        ("{{ '' }}", "https://api.example.com/v1"),
    ],
)
def test_request_path_follows_the_url(path: str, url: str) -> None:
    assert str(render(make_spec(request_path=path)).url) == url


@pytest.mark.parametrize("path", [".evil.example/", "@evil.example/", ":81/", "/a b", "/a\nb", "/ü"])
def test_request_path_cannot_lead_elsewhere(path: str) -> None:
    with pytest.raises(TemplateFailed):
        render(make_spec("https://api.example.com", request_path=path))


def test_request_path_has_a_limit() -> None:
    with pytest.raises(TemplateFailed, match="not the path"):
        render(make_spec(request_path="/{{ call.call_to }}"), call_to="a" * 8_000)


@pytest.mark.parametrize(
    ("fields", "location", "error"),
    [
        ({"body": "{{ call.call_form }}"}, "body", "undefined"),
        ({"body": "no JSON"}, "body", "the body is not JSON"),
        ({"body": '{"a": {{ call.call_from }}}'}, "body", "the body is not JSON"),
        ({"body": "{{ alarm.detail }}"}, "body", "there is no variable alarm"),
        ({"body": "{% for i in range(9) %}{% endfor %}"}, "body", "templates have no Call"),
        ({"body": "[" * 5_000}, "body", "the body is not JSON"),
        ({"request_method": "BREW"}, "request_method", "'BREW' is not a method"),
        ({"request_path": "calls"}, "request_path", "not the path of a URL"),
        ({"request_path": "{{ 1 if external_id else '/' }}"}, "request_path", "not the path of a URL"),
        ({"id_pointer": "id"}, "fields", "invalid fields"),
        ({"content_type": "text/html"}, "fields", "invalid fields"),
        ({"body": "x" * 9_000}, "fields", "invalid fields"),
        ({"other": "x"}, "fields", "invalid fields"),
    ],
)
def test_request_invalid_template_is_refused_when_set(fields: dict[str, Any], location: str, error: str) -> None:
    """With the sample of a first and of a later event."""
    with pytest.raises(UsageError) as raised:
        check_kind(make_spec(**fields))
    assert raised.value.location == location
    assert error in str(raised.value)


def test_request_path_that_makes_no_url_is_refused_when_set() -> None:
    """Behind a host it is a port that no address has."""
    spec = msgspec.structs.replace(make_spec(request_path="&:99999"), url="https://api.example.com")
    with pytest.raises(UsageError, match="not the path of a URL: '&:99999'"):
        check_kind(spec)


def test_request_invalid_header_is_refused_when_set() -> None:
    spec = msgspec.structs.replace(make_spec(), headers={"X-Key": "{{ key }}"})
    with pytest.raises(UsageError, match="no variable key"):
        check_kind(validate_spec(spec))
    long_header = msgspec.structs.replace(make_spec(), headers={"X-Key": "{{ call|tojson }}" * 9})
    with pytest.raises(UsageError, match="the header X-Key is too long"):
        check_kind(validate_spec(long_header))


def test_request_fragment_of_the_url_is_refused_with_a_path() -> None:
    with pytest.raises(UsageError, match="fragment"):
        check_kind(make_spec("https://api.example.com/#a", request_path="/b"))


@pytest.mark.parametrize("changes", [{"method": "GET"}, {"payload_format": "flat"}, {"with_standard_webhooks": True}])
def test_request_field_of_webhooks_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="for webhooks only"):
        validate_spec(msgspec.structs.replace(make_spec(), **changes))


def test_request_fields_of_http_are_accepted() -> None:
    fields = {"headers": {"X-Key": "{{ secret }}"}, "accept_redirects": True, "proxy": "none", "fingerprint": "ab" * 32}
    check_kind(validate_spec(msgspec.structs.replace(make_spec(), **fields)))


@pytest.mark.parametrize("url", ["https://u:geheim@api.example.com/", "ftp://api.example.com/", "https://127.1/"])
def test_request_address_is_checked_as_that_of_a_webhook(url: str) -> None:
    with pytest.raises(UsageError) as error:
        validate_spec(make_spec(url))
    assert "geheim" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "is the request itself"),
        ({"body": '{"a": "{{ secret }}"}', "request_path": "/a"}, ("https://api.example.com/v1/a", b'{"a": "SECRET"}')),
        ({"request_path": "/{{ secret|upper }}", "body": "1"}, ("https://api.example.com/v1/SECRET", b"1")),
        ({"body": "{% set a = secret %}{{ a|length }}"}, ("https://api.example.com/v1", b"6")),
    ],
)
def test_request_for_the_log_is_rendered_again_only_where_it_has_the_secret(
    fields: dict[str, Any], expected: Any
) -> None:
    templates, body = RequestTemplates(make_spec(**fields)), msgspec.json.encode(record())
    request = templates.render(body, notification_id="id-1", secret="geheimgeheim")
    logged_request = templates.render_logged(request, body, notification_id="id-1")
    if isinstance(expected, str):
        assert logged_request is request
    else:
        assert (str(logged_request.url), logged_request.body) == expected
        assert b"geheim" not in (logged_request.body or b"")
