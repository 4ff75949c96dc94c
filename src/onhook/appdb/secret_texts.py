"""Every secret that `onhook.db` has as a text, so that it can be masked wherever it was logged."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from onhook.appdb.contract import Database
from onhook.appdb.stored_json import RowUnreadable
from onhook.lib.hosts import proxy_passwords, query_values
from onhook.lib.messages import _

SECRET_COLUMNS = (
    *(("secrets", "text"), ("signing_secrets", "text"), ("pbx_credentials", "client_secret")),
    *(("asterisks", "secret"), ("cdr_sources", "password"), ("source_matches", "path")),
    *(("mask_key", "text"), ("mail_settings", "password"), ("shared_certificates", "private_key")),
    *(("totp_factors", "secret"), ("totp_enrolments", "secret")),
    ("identity_provider", "client_secret"),
)
"""Columns with a secret itself; `destinations` and `pbx_credentials` have some inside of JSON, all others hashes."""


async def read_secret_texts(database: Database) -> list[str]:
    """Return the secrets, also those of rows that cannot be read otherwise. Raises `RowUnreadable` where a row is no
    JSON: what is secret in it is not known.
    """
    texts = [
        text for table, column in SECRET_COLUMNS for (text,) in await database.rows(f"SELECT {column} FROM {table}")
    ]
    for (spec,) in await database.rows("SELECT spec FROM destinations"):
        texts += find_spec_secrets(spec)
    for (tokens,) in await database.rows("SELECT tokens FROM pbx_credentials"):
        texts += find_tokens(_decode(tokens))
    return [text for text in texts if text]


def find_spec_secrets(spec: str) -> Iterator[str]:
    """Yield the secrets of a destination's specification: the values of headers, with and without their scheme,
    password and query of the URL, and the password of the proxy.

    >>> list(find_spec_secrets('{"url":"https://a.example/?key=k%2B1","headers":{"Authorization":"Bearer abc"}}'))
    ['Bearer abc', 'abc', 'k+1', 'k%2B1']
    """
    members = _decode(spec)
    if not isinstance(members, dict):
        return
    headers = members.get("headers")
    for value in headers.values() if isinstance(headers, dict) else ():
        scheme, _separator, credentials = str(value).partition(" ")
        yield str(value)
        yield from (credentials,) if scheme and credentials else ()
    url = str(members.get("url", ""))
    yield from (*proxy_passwords(url), *query_values(url))
    yield from proxy_passwords(str(members.get("proxy", "")))


def find_tokens(value: Any) -> Iterator[str]:
    """Yield the tokens inside of a value of JSON, by the names of members.

    >>> list(find_tokens({"current_token": {"token": "a", "refresh_token": "b"}, "error": "c"}))
    ['a', 'b']
    """
    if isinstance(value, list):
        for element in value:
            yield from find_tokens(element)
    elif isinstance(value, Mapping):
        for name, member in value.items():
            if isinstance(member, str):
                yield from (member,) if name.endswith("token") else ()
            else:
                yield from find_tokens(member)


def _decode(text: str) -> Any:
    try:
        return msgspec.json.decode(str(text)) if text else None
    except msgspec.DecodeError as error:
        raise RowUnreadable(_("a row with secrets cannot be read: {error}", error=error)) from None
