"""Values of the PBX client that contain secrets do not show them."""

import pytest

from onhook.pbx.client import ClientCredentials, PbxRequest, PbxWebhook, TokenStep


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (ClientCredentials("client", "SECRET"), "ClientCredentials()"),
        (PbxRequest(path="/del_token", query={"access_token": "SECRET"}), "PbxRequest(GET /del_token)"),
        (PbxRequest(method="POST", path="/get_token", body=b"SECRET"), "PbxRequest(POST /get_token)"),
        (TokenStep(action="use", token="SECRET"), "TokenStep(use)"),
        (
            PbxWebhook(url="https://user:SECRET@example.org", secret="SECRET", method="POST", sends_call_ends=True),
            "PbxWebhook(POST)",
        ),
    ],
)
def test_client_repr_contains_no_secret(value: object, text: str) -> None:
    assert repr(value) == text
