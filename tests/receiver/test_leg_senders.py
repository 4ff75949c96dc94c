"""Senders of legs, which cannot sign: identified by path, password or address, with requests that a FreeSWITCH sent."""

import asyncio
import base64
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path

import pytest

from onhook.ledger.contract import RawEvent
from onhook.pbx.freeswitch.payload import FreeSwitch
from onhook.pbx.newcdr.payload import NewCdr
from onhook.pbx.yeastar.payload import Yeastar
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.receiver.rejection_limits import ADDRESSES_MAX, PERIOD_SECONDS, REJECTIONS_MAX, RejectionLimits
from onhook.receiver.signature_check import read_password
from tests.receiver.harness import PAYLOADS, RAW_EVENT, ReceiverHarness, make_request, open_receiver, statuses

SN = "FUSION-1"
PATH = "/fs/3kFz0qLrB7xN9sVe"
PASSWORD = "example-password"
"""That of the captures."""

HERE, ELSEWHERE = ip_network("127.0.0.0/8"), ip_network("192.0.2.7/32")
CAPTURES = PAYLOADS / "freeswitch"
DIALECTS = {dialect.name: dialect for dialect in (Yeastar(), NewCdr(), FreeSwitch())}
BY_PATH = RegisteredPbx(sn=SN, dialect="freeswitch", path=PATH)
BY_PASSWORD = RegisteredPbx(sn=SN, dialect="freeswitch", secrets=("next-password", PASSWORD), has_password=True)
BY_ADDRESS = RegisteredPbx(sn=SN, dialect="freeswitch", networks=(HERE,))
LEG = (CAPTURES / "s01_internal_answered" / "05-json.body").read_bytes()


def make_leg_request(path: str, body: bytes = LEG, *, password: str | None = None, **headers: str) -> bytes:
    """Return a request as mod_json_cdr sends it."""
    if password is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(f"onhook:{password}".encode()).decode()
    request = make_request(body, secret=None, **headers)
    return request.replace(b"POST / ", f"POST {path}?uuid=6b2ba865-6c51-4011-8d07-3adca7f9bd69 ".encode(), 1)


def captured_request(name: str, path: str = "") -> bytes:
    """Return a captured request, with another path if one is given, byte for byte otherwise."""
    (head_path,) = CAPTURES.glob(f"{name}.head.txt")
    head = head_path.read_bytes()
    if path:
        query = head.partition(b" HTTP/")[0].partition(b"?")[2]
        head = b"POST " + path.encode() + b"?" + query + b" HTTP/" + head.partition(b" HTTP/")[2]
    return head + head_path.with_name(head_path.name.replace(".head.txt", ".body")).read_bytes()


async def exchange(receiver: ReceiverHarness, *requests: bytes) -> list[int]:
    """Return the statuses of responses on one connection, which stays open as that of a FreeSWITCH does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
    codes = []
    try:
        for request in requests:
            writer.write(request)
            async with asyncio.timeout(20):
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
            codes += statuses(head)
    finally:
        writer.close()
    return codes


async def stored(receiver: ReceiverHarness) -> Sequence[RawEvent]:
    return await receiver.ledger.read(0, 100)


def test_read_password_credentials_that_are_not_basic_have_none() -> None:
    assert read_password(b"basic " + base64.b64encode(b":a:b")) == "a:b"
    for authorization in (b"Basic", b"Basic !!", b"Basic /w==", b"Digest username=onhook", b"Basic b25ob29r"):
        assert read_password(authorization) == ""


async def test_leg_sender_fs11_secret_in_the_path_is_accepted(tmp_path: Path) -> None:
    async with open_receiver(tmp_path / "ledger.db", [BY_PATH], dialects=DIALECTS) as receiver:
        assert statuses(await receiver.send(make_leg_request(PATH))) == [200]
        (raw_event,) = await stored(receiver)
        assert (raw_event.sn, raw_event.dialect, raw_event.body) == (SN, "freeswitch", LEG)


@pytest.mark.parametrize("path", ["/", "/fs/", f"{PATH}x", PATH[:-1], f"{PATH}/", PATH.upper(), f"/{PATH}"])
async def test_leg_sender_fs11_wrong_or_missing_path_is_rejected(tmp_path: Path, path: str) -> None:
    async with open_receiver(tmp_path / "ledger.db", [BY_PATH], dialects=DIALECTS) as receiver:
        assert statuses(await receiver.send(make_leg_request(path))) == [401]
        assert not await stored(receiver)
        assert await receiver.count_verdicts() == {"unexpected_source": 1}


@pytest.mark.parametrize(
    ("password", "status"), [(PASSWORD, 200), ("next-password", 200), ("wrong", 401), ("", 401), (None, 401)]
)
async def test_leg_sender_fs11_password_decides(tmp_path: Path, password: str | None, status: int) -> None:
    async with open_receiver(tmp_path / "ledger.db", [BY_PASSWORD], dialects=DIALECTS) as receiver:
        response = await receiver.send(make_leg_request("/json", password=password))
        assert statuses(response) == [status]
        assert (b'WWW-Authenticate: Basic realm="onhook"' in response) is (status == 401)
        assert len(await stored(receiver)) == (status == 200)


@pytest.mark.parametrize(
    ("capture", "expected"),
    [
        ("e14_auth_basic/03-json", [200]),
        ("e17_auth_unset_cred_set/03-json", [200]),
        ("e18_auth_wrong_401_final/03-json", [401]),
        ("s01_internal_answered/05-json", [401]),
    ],
)
async def test_leg_sender_fs11_captured_credentials(tmp_path: Path, capture: str, expected: list[int]) -> None:
    async with open_receiver(tmp_path / "ledger.db", [BY_PASSWORD], dialects=DIALECTS) as receiver:
        assert await exchange(receiver, captured_request(capture)) == expected


async def test_leg_sender_fs11_scheme_any_is_challenged_first(tmp_path: Path) -> None:
    """The captured pair of requests: without credentials, and again with them."""
    pair = [captured_request(f"e15_auth_any_401/0{number}-json") for number in (3, 4)]
    async with open_receiver(tmp_path / "ledger.db", [BY_PASSWORD], dialects=DIALECTS) as receiver:
        assert [(await exchange(receiver, request))[0] for request in pair] == [401, 200]
        assert len(await stored(receiver)) == 1


async def test_leg_sender_fs11_captured_path_with_a_query(tmp_path: Path) -> None:
    """mod_json_cdr appends its own query behind the path, also where there is one."""
    pbx = RegisteredPbx(sn=SN, dialect="freeswitch", path="/json/path-key-example/fs")
    request = captured_request("e13_url_with_path_secret/03-json")
    async with open_receiver(tmp_path / "ledger.db", [pbx], dialects=DIALECTS) as receiver:
        assert await exchange(receiver, request) == [200]
        assert statuses(await receiver.send(make_leg_request(f"{pbx.path}?key=example"))) == [200]


@pytest.mark.parametrize(("network", "status"), [(HERE, 200), (ELSEWHERE, 401)])
async def test_leg_sender_allow_list_holds_beside_path_and_password(
    tmp_path: Path, network: object, status: int
) -> None:
    pbx = RegisteredPbx(
        sn=SN,
        dialect="freeswitch",
        networks=(HERE if network is HERE else ELSEWHERE,),
        path=PATH,
        secrets=(PASSWORD,),
        has_password=True,
    )
    async with open_receiver(tmp_path / "ledger.db", [pbx], dialects=DIALECTS) as receiver:
        assert statuses(await receiver.send(make_leg_request(PATH, password=PASSWORD))) == [status]
        assert statuses(await receiver.send(make_leg_request(PATH, password="wrong"))) == [401]
        assert statuses(await receiver.send(make_leg_request("/", password=PASSWORD))) == [401]


async def test_leg_sender_password_of_a_pbx_that_signs_is_no_password(tmp_path: Path) -> None:
    pbx = RegisteredPbx(sn="3651XXXXXXXX", dialect="yeastar", secrets=(PASSWORD,))
    async with open_receiver(tmp_path / "ledger.db", [pbx], dialects=DIALECTS) as receiver:
        for body in (LEG, RAW_EVENT):
            assert statuses(await receiver.send(make_leg_request("/", body, password=PASSWORD))) == [401]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json", ""])
@pytest.mark.parametrize(
    "capture", ["e01_*/0*-json", "e03_*/0*-json", "e04_*/0*-json", "e07_*/0*-json", "f5_*/0*-fmt", "x1_*/0*-xml"]
)
async def test_leg_sender_bytes_decide_and_not_the_content_type(
    tmp_path: Path, content_type: str, capture: str
) -> None:
    body = min(CAPTURES.glob(f"{capture}.body")).read_bytes()
    headers = {"Content_Type": content_type} if content_type else {}
    async with open_receiver(tmp_path / "ledger.db", [BY_PATH], dialects=DIALECTS) as receiver:
        response = await receiver.send(make_leg_request(PATH, body, **headers))
        assert statuses(response) == [200]
        assert b"could not be parsed" not in response


async def test_leg_sender_body_that_is_no_leg_is_kept_unparsable(tmp_path: Path) -> None:
    """Retries change nothing for it, and a file on the PBX would be the only trace."""
    async with open_receiver(tmp_path / "ledger.db", [BY_PATH], dialects=DIALECTS) as receiver:
        assert b"could not be parsed" in await receiver.send(make_leg_request(PATH, b"not a document"))
        assert (await stored(receiver))[0].body == b"not a document"


async def test_leg_sender_pbxs_that_sign_share_its_address(tmp_path: Path) -> None:
    signing = RegisteredPbx(sn="3651XXXXXXXX", dialect="yeastar", secrets=("0123456789abcdefghijABCDEFGHIJ01",))
    async with open_receiver(tmp_path / "ledger.db", [BY_ADDRESS, signing], dialects=DIALECTS) as receiver:
        assert statuses(await receiver.send(make_request(RAW_EVENT))) == [200]
        assert statuses(await receiver.send(make_leg_request("/"))) == [200]
        assert {(event.sn, event.dialect) for event in await stored(receiver)} == {
            ("3651XXXXXXXX", "yeastar"),
            (SN, "freeswitch"),
        }


async def test_leg_sender_rejected_too_often_is_put_off_and_its_legs_are_accepted(tmp_path: Path) -> None:
    async with open_receiver(tmp_path / "ledger.db", [BY_PATH], dialects=DIALECTS) as receiver:
        wrong, right = (make_leg_request(path).replace(b"Connection: close\r\n", b"") for path in ("/wrong", PATH))
        codes = await exchange(receiver, *[wrong] * (REJECTIONS_MAX + 1), right, wrong)
        assert codes == [401] * REJECTIONS_MAX + [503, 200, 401]


def test_rejection_limits_addresses_and_periods_count_by_themselves() -> None:
    now = 0.0
    limits = RejectionLimits(lambda: now)
    for _number in range(REJECTIONS_MAX):
        assert limits.admits("2001:db8::1")
    assert not limits.admits("2001:db8::ffff")
    assert limits.admits("2001:db8:0:1::1")
    assert limits.admits("::ffff:192.0.2.7")
    assert limits.admits("fe80::1%eth0")
    assert limits.admits("not:an:address")
    assert limits.admits("192.0.2.7")
    limits.forgive("2001:db8::2")
    assert limits.admits("2001:db8::1")
    now = PERIOD_SECONDS
    assert limits.admits("2001:db8::ffff")


def test_rejection_limits_many_addresses_are_counted_together() -> None:
    limits = RejectionLimits(lambda: 0.0)
    limits.forgive("192.0.2.7")
    for number in range(ADDRESSES_MAX):
        assert limits.admits(f"192.0.{number // 256}.{number % 256}")
    answers = [limits.admits(f"198.51.100.{number}") for number in range(REJECTIONS_MAX + 1)]
    assert answers == [True] * REJECTIONS_MAX + [False]
