"""Verification of signatures: which registered PBX sent a request."""

from ipaddress import ip_network

import pytest

from onhook.lib.signing import sign
from onhook.pbx.yeastar.payload import Yeastar
from onhook.receiver.hash_budget import SEARCH_BYTES_MAX, HashBudget
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.receiver.signature_check import verify_sender
from onhook.receiver.verdict import Verdict
from tests.receiver.harness import (
    NEXT_SECRET,
    RAW_EVENT,
    RAW_EVENT_SIGNATURE,
    REGISTERED_PBXS,
    SECRET,
    SN,
    UNSIGNED_SN,
    MemoryPbxRegistry,
    make_event_body,
    make_raw_event,
)

SOURCE_PBX = RegisteredPbx(sn="SOURCE", dialect="yeastar", networks=(ip_network("192.0.2.0/28"),), secrets=("other",))
PBXS = (*REGISTERED_PBXS, SOURCE_PBX)
WITHOUT_SN = make_event_body(type=30012, msg='{"call_id":"1.1"}')


def verify(body: bytes, signature: str, *, pbxs: tuple[RegisteredPbx, ...] = PBXS, peer: str = "") -> str:
    """Return the serial number of the verified sender, or the verdict."""
    sender: RegisteredPbx | Verdict = verify_sender(
        MemoryPbxRegistry(pbxs),
        Yeastar().peek(body),
        body,
        signature,
        path="/",
        peer=peer,
        budget=HashBudget(lambda: 0.0),
    )
    return sender.sn if isinstance(sender, RegisteredPbx) else sender


@pytest.mark.parametrize("signature", [RAW_EVENT_SIGNATURE, f" {RAW_EVENT_SIGNATURE} ", sign(NEXT_SECRET, RAW_EVENT)])
def test_verify_sender_signed_with_a_secret_of_the_pbx_returns_it(signature: str) -> None:
    assert verify(RAW_EVENT, signature) == SN


def test_verify_sender_unsigned_pbx_needs_no_signature() -> None:
    assert verify(make_raw_event(1, UNSIGNED_SN), "") == UNSIGNED_SN


@pytest.mark.parametrize(
    ("body", "signature", "verdict"),
    [
        (RAW_EVENT, "", "missing_signature"),
        (RAW_EVENT, sign("a secret of no PBX", RAW_EVENT), "invalid_signature"),
        (RAW_EVENT, sign(SECRET, RAW_EVENT + b" "), "invalid_signature"),
        (make_raw_event(1, "UNKNOWN"), sign(SECRET, make_raw_event(1, "UNKNOWN")), "unknown_pbx"),
        (WITHOUT_SN, "", "missing_signature"),
        (WITHOUT_SN, "x" * 44, "invalid_signature"),
        (WITHOUT_SN, "too short", "invalid_signature"),
        (make_raw_event(1, "SOURCE"), "", "unexpected_source"),
    ],
)
def test_verify_sender_other_request_is_rejected(body: bytes, signature: str, verdict: Verdict) -> None:
    assert verify(body, signature, peer="192.0.2.77") == verdict


@pytest.mark.parametrize("body", [make_raw_event(1, "SOURCE"), WITHOUT_SN])
def test_verify_sender_unsigned_request_from_a_source_returns_its_pbx(body: bytes) -> None:
    """With its serial number in the body, and without."""
    assert verify(body, "", peer="192.0.2.7") == "SOURCE"


def test_verify_sender_body_without_sn_returns_the_pbx_whose_secret_signs_it() -> None:
    assert verify(WITHOUT_SN, sign(NEXT_SECRET, WITHOUT_SN)) == SN


def test_verify_sender_search_by_secret_is_bounded() -> None:
    """A large body without sender is tried with as many secrets as cost some milliseconds, a common one with all."""
    pbxs = tuple(RegisteredPbx(sn=f"PBX{n}", dialect="yeastar", secrets=(f"secret {n}",)) for n in range(1_000))
    large, common = make_event_body(type=30012, filler="x" * 255 * 1024), make_event_body(event="test")
    assert len(large) * 30 < SEARCH_BYTES_MAX < len(large) * 40
    assert verify(large, sign("secret 30", large), pbxs=pbxs) == "PBX30"
    assert verify(large, sign("secret 40", large), pbxs=pbxs) == "invalid_signature"
    assert verify(common, sign("secret 999", common), pbxs=pbxs) == "PBX999"
