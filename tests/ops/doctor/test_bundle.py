"""The bundle for maintainers: no secret is in it, in whatever form it was logged."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.pbx_credentials import PbxCredentials
from onhook.config import Config
from onhook.lib.clock import SystemClock
from onhook.ops.doctor.bundle import LOG_LEFT_OUT, MASK, _read_secrets, mask_text, write_bundle
from onhook.pbx.yeastar.tokens import PbxToken, TokenState
from onhook.runtime.engines import ENGINES

SECRETS = {
    "webhook": 'pass"word\\with-quote',
    "header": "headersecretvalue",
    "query": "key+of the/query",
    "proxy": "proxy@secret",
    "client": "clientsecret-ü",
    "token": "currenttoken1",
    "refresh": "refreshtoken1",
    "replaced": "replacedtoken1",
    "setting": "settingproxypw",
}


@pytest.fixture
async def config(tmp_path: Path) -> Config:
    credentials = PbxCredentials(url="https://pbx:8088", client_id="id", client_secret=SECRETS["client"])
    tokens = TokenState(
        current_token=PbxToken(SECRETS["token"], 1, 2, SECRETS["refresh"], 3),
        replaced_tokens=(PbxToken(SECRETS["replaced"], 1, 2),),
        error="the PBX is unreachable",
    )
    async with AppDb(tmp_path / "onhook.db") as appdb:
        await appdb.add_pbx(name="A", sn="SN1", secret=SECRETS["webhook"], now_us=1)
        await appdb.pbx_credentials.put("SN1", credentials)
        await appdb.pbx_credentials.save_tokens("SN1", credentials, msgspec.json.encode(tokens).decode())
        spec = DestinationSpec(
            url=f"https://a.example/hook?key={quote(SECRETS['query'], safe='')}&on=1",
            headers={"Authorization": f"Bearer {SECRETS['header']}"},
            proxy=f"http://onhook:{quote(SECRETS['proxy'])}@10.0.0.1:3128",
        )
        await appdb.destinations.add("CRM", spec, None, after=0, now_us=1)
    return Config(data=tmp_path, proxy=f"http://onhook:{SECRETS['setting']}@10.0.0.1:3128")


FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda secret: f"sent {secret} to it",
    "JSON": lambda secret: json.dumps({"error": secret}, ensure_ascii=False),
    "ASCII JSON": lambda secret: json.dumps({"error": secret}),
    "JSON in JSON": lambda secret: json.dumps({"body": json.dumps({"error": secret}, ensure_ascii=False)}),
    "repr": repr,
    "part of a URL": lambda secret: f"GET /x/{quote(secret, safe='')}",
    "proxy": lambda secret: f"http://onhook:{quote(secret)}@10.0.0.1",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
async def test_bundle_has_no_secret_in_any_form(config: Config, secret: str) -> None:
    lines = {name: form(secret) for name, form in FORMS.items()}
    (config.data / "hub.log").write_text("\n".join(lines.values()) + "\nthe PBX is unreachable")
    await write_bundle(config, SystemClock(), [], config.data / "bundle.zip", ENGINES.open_appdb)
    with zipfile.ZipFile(config.data / "bundle.zip") as archive:
        text = archive.read("hub.log").decode()
        files = "".join(archive.read(name).decode() for name in archive.namelist())
    surviving = [name for name, line in zip(lines, text.splitlines(), strict=False) if "…" not in line]
    assert surviving == []
    assert secret not in files
    assert not [part for part in secret.split('"') if part in text]
    assert "the PBX is unreachable" in text


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://onhook:gone-secret@db1:5432,db2/onhook",
        "cannot connect to POSTGRES://onhook:gone/secret@x@db1/onhook",
        "postgresql://db1/onhook?password=gone-secret&sslmode=require",
        "postgresql://db1/onhook?sslmode=verify-full&sslkey=/etc/gone-secret.key",
        "amqps://user:gone-secret@mq/, nats://a:gone-secret@b:4222,nats://c:gone-secret@d:4222",
        "host=db1 user=onhook password=gone-secret sslpassword='gone-secret'",
        '{"path": "/invitation?invitation=gone-secret", "api_key": "gone-secret"}',
        '{"body": "{\\"client_secret\\": \\"gone-secret\\"}"}',
        "GET /api/v1/x?token=gone-secret HTTP/1.1",
    ],
)
def test_mask_text_secrets_that_are_stored_no_longer_are_masked_by_their_place(text: str) -> None:
    masked_text = mask_text(text)
    assert "gone" not in masked_text
    assert "secret@" not in masked_text
    assert MASK in masked_text


def test_mask_text_of_addresses_and_other_words_stays() -> None:
    text = "postgresql://…@db1/onhook: the password is wrong; keyboard, tokens and 0 passengers at https://a.example/x"
    assert mask_text(text) == text


async def test_bundle_masks_what_is_secret_in_the_address_of_the_database(config: Config) -> None:
    address = "postgresql://onhook:addresspassword1@127.0.0.1:1/onhook?sslmode=require&sslpassword=addresspassword2"
    config = msgspec.structs.replace(config, appdb=address)
    secrets, _are_all_known = await _read_secrets(config, ENGINES.open_appdb)
    assert {"addresspassword1", "addresspassword2"} <= set(secrets)
    assert "require" not in secrets


async def test_bundle_of_a_destination_that_cannot_be_read_masks_its_secrets(config: Config) -> None:
    async with AppDb(config.appdb_file) as appdb:
        await appdb._database.write("UPDATE destinations SET spec = '{\"later\":1,' || substr(spec, 2)")
    (config.data / "hub.log").write_text(SECRETS["header"])
    await write_bundle(config, SystemClock(), [], config.data / "bundle.zip", ENGINES.open_appdb)
    with zipfile.ZipFile(config.data / "bundle.zip") as archive:
        assert archive.read("hub.log").decode() == "…"


async def test_bundle_with_a_destination_that_is_no_json_has_no_log(config: Config) -> None:
    async with AppDb(config.appdb_file) as appdb:
        await appdb._database.write("UPDATE destinations SET spec = substr(spec, 2)")
    (config.data / "hub.log").write_text(SECRETS["header"])
    await write_bundle(config, SystemClock(), [], config.data / "bundle.zip", ENGINES.open_appdb)
    with zipfile.ZipFile(config.data / "bundle.zip") as archive:
        assert archive.read("hub.log").decode() == LOG_LEFT_OUT


async def test_bundle_without_a_readable_database_has_no_log(config: Config) -> None:
    """Its secrets would have to be masked."""
    (config.data / "hub.log").write_text(SECRETS["header"])
    for path in config.data.glob("onhook.db*"):
        path.write_bytes(b"\xff" * 8192)
    await write_bundle(config, SystemClock(), [], config.data / "bundle.zip", ENGINES.open_appdb)
    with zipfile.ZipFile(config.data / "bundle.zip") as archive:
        assert archive.read("hub.log").decode().startswith("left out: the secrets in onhook.db")
