"""Headers of Standard Webhooks, checked by the reference library."""

import base64
import time

import pytest
from standardwebhooks.webhooks import Webhook as Reference
from standardwebhooks.webhooks import WebhookVerificationError

from onhook.appdb.destination_spec import format_standard_webhooks_secret
from onhook.delivery.destinations.standard_webhooks import standard_headers

BODY = b'{"type":30012,"sn":"3631A2124XXX","msg":"{}"}'
OLD, NEW = ("whsec_" + base64.b64encode(bytes([n] * 24)).decode() for n in (1, 2))


def _now() -> int:
    return time.time_ns() // 1000


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_standard_headers_are_verified_by_the_reference_library(secret: str) -> None:
    """With either secret, while one replaces the other."""
    headers = standard_headers("abc-1", _now(), BODY, (OLD, NEW))
    assert Reference(secret).verify(BODY, headers)["type"] == 30012


def test_standard_headers_of_other_content_are_rejected() -> None:
    """Another body, another id, an old time, another secret."""
    headers = standard_headers("abc-1", _now(), BODY, (OLD,))
    for body, changed in (
        (BODY + b" ", headers),
        (BODY, headers | {"webhook-id": "abc-2"}),
        (BODY, standard_headers("abc-1", _now() - 3_600_000_000, BODY, (OLD,))),
        (BODY, standard_headers("abc-1", _now(), BODY, (NEW,))),
    ):
        with pytest.raises(WebhookVerificationError):
            Reference(OLD).verify(body, changed)


def test_standard_headers_equal_the_example_of_the_specification() -> None:
    """Seconds, and one signature per secret with its version in front."""
    headers = standard_headers("msg_1", 1_614_265_330_123_456, b'{"test": 2432232314}', (OLD, NEW))
    assert headers["webhook-timestamp"] == "1614265330"
    signatures = headers["webhook-signature"].split(" ")
    assert [signature[:3] for signature in signatures] == ["v1,", "v1,"]
    assert [len(base64.b64decode(signature[3:])) for signature in signatures] == [32, 32]


def test_standard_headers_usual_secret_is_verified_by_the_reference() -> None:
    """With the secret in the form that the operator is shown."""
    secret = "0123456789abcdefghijABCDEFGHIJ01"
    headers = standard_headers("abc-1", _now(), BODY, [secret])
    assert Reference(format_standard_webhooks_secret(secret)).verify(BODY, headers)["type"] == 30012
