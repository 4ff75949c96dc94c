"""`onhook pbx`."""

import asyncio
import hashlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.cdr.number_plan import NumberPlan
from tests.cli.conftest import Command

CERTIFICATES = Path(__file__).parents[1] / "certificates"

ADD = ("pbx", "add", "Office", "--sn", "3631A2124ABC", "--secret", "first-secret")


@pytest.mark.parametrize(
    "options",
    [
        ("--recordings", "recordings", "--silence", "bogus"),
        ("--ring-time", "ring", "--add-sn", "3631A2199ZZZ", "--add-sn", "two words"),
        ("--from", "192.0.2.7", "--zone", "Mars/Base"),
        ("--encoding", "gbk", "--name", "Branch"),
    ],
)
def test_pbx_change_with_an_error_changes_nothing(onhook: Command, options: tuple[str, ...]) -> None:
    Path("recordings").mkdir()
    assert onhook("pbx", "add", "Branch", "--sn", "3631A2124XYZ", "--unsigned")[0] == 0
    assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", "--unsigned")[0] == 0

    async def settings() -> tuple[object, ...]:
        async with AppDb(Path("onhook-data/onhook.db")) as appdb:
            sn = "3631A2124ABC"
            return (
                await appdb.pbx(sn),
                await appdb.pbx_conventions.get(sn),
                await appdb.recordings.get(sn),
                await appdb.source_matches.get(sn),
            )

    before = asyncio.run(settings())
    assert onhook("pbx", "change", "Office", *options)[0] == 2
    assert asyncio.run(settings()) == before


def test_pbx_is_added_listed_changed_and_removed(onhook: Command) -> None:
    """The secret is never shown."""
    assert onhook(*ADD, "--zone", "Europe/Berlin", "--queue", "6400-6499,7000")[0] == 0
    assert onhook("pbx", "secret", "add", "Office", "--secret", "second-secret", "--label", "rotated")[0] == 0
    _, out, _ = onhook("pbx", "list")
    assert all(word in out for word in ("Office", "3631A2124ABC", "Europe/Berlin", "1 webhook, 2 rotated"))
    assert "-secret" not in out
    assert onhook("pbx", "secret", "remove", "Office", "1")[0] == 0
    code, _, error = onhook("pbx", "secret", "remove", "Office", "2")
    assert (code, "add the new one first" in error) == (2, True)
    assert "onhook rebuild" in onhook("pbx", "change", "Office", "--name", "Head office", "--unsigned")[1]
    assert onhook("pbx", "remove", "head office")[0] == 0
    assert onhook("pbx", "list")[1].count("\n") == 1


def test_pbx_digits_and_ranges_of_extensions_are_options(onhook: Command) -> None:
    """Also one after the other; what is left out stays."""

    async def number_plan() -> NumberPlan:
        async with AppDb(Path("onhook-data/onhook.db")) as appdb:
            return (await appdb.pbx("Office")).number_plan

    assert onhook(*ADD, "--extension-digits", "3")[0] == 0
    plan = asyncio.run(number_plan())
    assert (plan.extension_digits_max, plan.kind_of("1001"), plan.kind_of("201")) == (3, "external", "extension")
    assert onhook("pbx", "change", "Office", "--extension", "12345670-12345679")[0] == 0
    plan = asyncio.run(number_plan())
    assert (plan.extension_digits_max, plan.kind_of("12345678")) == (3, "extension")
    assert onhook("pbx", "change", "Office", "--extension-digits", "8")[0] == 0
    plan = asyncio.run(number_plan())
    assert (plan.extension_digits_max, plan.extension) == (8, ("12345670-12345679",))
    assert plan.kind_of("20000001") == "extension"
    assert onhook("pbx", "change", "Office", "--extension-digits", "many")[0] == 2


def test_pbx_name_and_serial_number_are_unique(onhook: Command) -> None:
    assert onhook(*ADD)[0] == 0
    code, _, error = onhook(*ADD)
    assert code == 2
    assert "already" in error
    assert "first-secret" not in error


def test_pbx_without_a_secret_cannot_be_set_to_signed(onhook: Command) -> None:
    """All its events would be rejected."""
    assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", "--unsigned")[0] == 0
    assert onhook("pbx", "change", "Office", "--signed")[0] == 2
    assert onhook("pbx", "secret", "add", "Office", "--secret", "first-secret")[0] == 0
    assert onhook("pbx", "change", "Office", "--signed")[0] == 0


OLD = ("pbx", "add", "Old office", "--sn", "369451090405", "--dialect", "newcdr")


def test_pbx_that_cannot_sign_needs_a_source(onhook: Command) -> None:
    """An address or a secret path, and the path is never shown."""
    code, _, error = onhook(*OLD)
    assert (code, "--from" in error) == (2, True)
    assert onhook(*OLD, "--from", "192.0.2.7", "--path", "/3kFz0qLrB7xN9sVe")[0] == 0
    assert onhook("pbx", "change", "Old office", "--from", "192.0.2.8")[0] == 0
    _, out, _ = onhook("pbx", "list")
    assert "192.0.2.8, a secret path" in out
    assert "3kFz0qLrB7xN9sVe" not in out


def test_pbx_unknown_dialect_is_rejected(onhook: Command) -> None:
    """With the known ones; a PBX that signs has no source."""
    code, _, error = onhook(*ADD, "--dialect", "siemens")
    assert (code, "yeastar, newcdr" in error) == (2, True)
    assert onhook(*ADD, "--from", "192.0.2.7")[0] == 2


API = ("--api", "https://127.0.0.1:8088/", "--client-id", "our-client", "--client-secret", "our-client-secret")


def test_pbx_with_api_needs_no_webhook_secret(onhook: Command) -> None:
    """Its events arrive over the push channel; the client secret is never shown."""
    assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", *API)[0] == 0
    _, out, _ = onhook("pbx", "list")
    assert "https://127.0.0.1:8088" in out
    assert "our-client" not in out
    assert onhook("pbx", "change", "Office", "--api", "https://pbx.office.example")[1].endswith(" changed.\n")
    assert "https://pbx.office.example:443" in onhook("pbx", "list")[1]


def test_pbx_api_must_be_complete_and_encrypted(onhook: Command) -> None:
    """One sentence says what is missing."""
    declared = ("pbx", "add", "Office", "--sn", "3631A2124ABC")
    for words, expected_text in (
        (API[:2], "client id"),
        (("--api", "http://192.0.2.7:8088", *API[2:]), "plain HTTP would expose the token"),
        (("--api", "https://user@192.0.2.7", *API[2:]), "not the address of an API"),
        (("--api", "pbx:8088", *API[2:]), "not the address of an API"),
        ((*API, "--fingerprint", "12:34"), "not the SHA-256"),
    ):
        code, _, error = onhook(*declared, *words)
        assert code == 2
        assert expected_text in error
        assert "our-client-secret" not in error


def test_pbx_client_secret_is_read_from_a_file(onhook: Command, tmp_path: Path) -> None:
    """So that it is in no list of processes."""
    file = tmp_path / "secret.txt"
    file.write_text("our-client-secret\n")
    words = ("pbx", "add", "Office", "--sn", "3631A2124ABC", *API[:4], "--client-secret-file", str(file))
    assert onhook(*words)[0] == 0


def test_pbx_trust_shows_and_pins_the_certificate(onhook: Command) -> None:
    """A self-signed one is trusted by its fingerprint only."""
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert((CERTIFICATES / "pbx.pem").read_text())).hexdigest()
    with tls_server() as port:
        url = ("--api", f"https://127.0.0.1:{port}", *API[2:])
        assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", *url)[0] == 0
        code, out, _ = onhook("pbx", "trust", "Office")
    assert code == 0
    assert fingerprint == out.splitlines()[0].replace(":", "").lower()
    assert "not trusted by a certificate authority" in out
    code, _, error = onhook("pbx", "trust", "Office")
    assert code == 1
    assert f"no TLS connection: Connection refused (127.0.0.1:{port})" in error


def test_pbx_trust_without_an_api_is_an_error(onhook: Command) -> None:
    """The sentence says how to set it."""
    assert onhook(*ADD)[0] == 0
    code, _, error = onhook("pbx", "trust", "Office")
    assert code == 1
    assert "--client-id" in error


def test_pbx_silence_is_minutes_or_a_word(onhook: Command) -> None:
    assert onhook(*ADD)[0] == 0
    for word in ("30", "never", "auto"):
        assert onhook("pbx", "change", "Office", "--silence", word)[0] == 0
    for word in ("0", "soon", "99999999"):
        code, _, error = onhook("pbx", "change", "Office", "--silence", word)
        assert (code, "never or auto" in error) == (2, True)


@contextmanager
def tls_server() -> Iterator[int]:
    """Yield a port with a self-signed certificate, which sends nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "pbx.pem", CERTIFICATES / "pbx.key")
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with suppress(OSError), context.wrap_socket(connection, server_side=True):
                    pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def test_pbx_recordings_directory_must_exist(onhook: Command, tmp_path: Path) -> None:
    """An empty text removes it."""
    onhook("pbx", "add", "Office", "--sn", "3631A2124XXX", "--secret", "0123456789abcdef")
    assert onhook("pbx", "change", "Office", "--recordings", str(tmp_path))[0] == 0
    assert onhook("pbx", "change", "Office", "--recordings", str(tmp_path / "nowhere"))[0] == 2
    assert onhook("pbx", "change", "Office", "--recordings", "")[0] == 0


def test_pbx_retention_is_days_or_a_word(onhook: Command) -> None:
    onhook("pbx", "add", "Office", "--sn", "3631A2124XXX", "--secret", "0123456789abcdef")
    for days, code in (("90", 0), ("always", 0), ("auto", 0), ("0", 2), ("soon", 2), ("999999", 2)):
        assert onhook("pbx", "change", "Office", "--keep", days)[0] == code, days


@pytest.mark.parametrize(
    "words",
    [
        ("add", "Office", "--sn", "SN1", "--unsigned", "--api", "https://169.254.169.254", *API[2:]),
        ("add", "Office", "--asterisk", "169.254.169.254", "--user", "onhook", "--secret", "geheimgeheim"),
        ("add", "Office", "--asterisk", "192.0.2.1", "--user", "onhook", "--secret", "geheimgeheim", "--cdr",
         "mysql://onhook:pw@169.254.169.254/asterisk"),
    ],
)  # fmt: skip
def test_pbx_address_of_a_metadata_service_is_refused(onhook: Command, words: tuple[str, ...]) -> None:
    code, _, error = onhook("pbx", *words)
    assert code == 2
    assert "169.254.169.254 is not a public address" in error


def test_pbx_further_serial_numbers_are_added_and_removed(onhook: Command) -> None:
    """They are listed; the PBX is found by each of them; an invalid or unknown one is an error."""
    assert onhook(*ADD)[0] == 0
    assert onhook("pbx", "change", "Office", "--add-sn", "3631A2199ZZZ", "--add-sn", "3631A2188YYY")[0] == 0
    assert "3631A2124ABC, 3631A2188YYY, 3631A2199ZZZ" in onhook("pbx", "list")[1]
    assert onhook("pbx", "change", "3631a2199zzz", "--remove-sn", "3631A2188YYY")[0] == 0
    assert "3631A2124ABC, 3631A2199ZZZ " in onhook("pbx", "list")[1]
    assert "is not a valid serial number" in onhook("pbx", "change", "Office", "--add-sn", "two words")[2]
    code, _, error = onhook("pbx", "change", "Office", "--remove-sn", "3631A2188YYY")
    assert (code, "has no further serial number" in error) == (1, True)


def test_pbx_unregistered_senders_can_be_rejected(onhook: Command) -> None:
    assert onhook(*ADD, "--reject-unregistered")[0] == 0
    assert onhook("pbx", "change", "Office", "--keep-unregistered")[0] == 0


def test_pbx_list_asterisk_is_identified_by_its_connection(onhook: Command) -> None:
    """It has a generated webhook secret that no sender knows."""
    asterisk = ("--asterisk", "192.0.2.7", "--user", "onhook", "--secret", "manager-secret")
    code, _, error = onhook("pbx", "add", "Shop", *asterisk)
    assert (code, error) == (0, "")
    assert onhook(*ADD)[0] == 0
    rows = {line.split()[0]: line for line in onhook("pbx", "list")[1].splitlines()}
    assert "connection" in rows["Shop"]
    assert "signature" not in rows["Shop"]
    assert "signature" in rows["Office"]


def test_pbx_secret_remove_of_another_pbx_names_its_own(onhook: Command) -> None:
    """The numbers count the secrets of all PBXs, so the first one of a PBX is rarely 1."""
    assert onhook("pbx", "add", "Shop", "--sn", "3631A2124XYZ", "--secret", "shop-secret")[0] == 0
    assert onhook(*ADD)[0] == 0
    code, _, error = onhook("pbx", "secret", "remove", "Office", "1")
    assert (code, "its secrets are 2 webhook" in error) == (1, True)
