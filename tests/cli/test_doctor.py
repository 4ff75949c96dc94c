"""`onhook doctor`."""

from pathlib import Path

from tests.cli.conftest import Command
from tests.hub.houses import House, report, wait_until


def _lines(text: str, mark: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.startswith(mark))


def test_a_sound_house_has_nothing_wrong(house: House) -> None:
    """Every line of a running server is right."""
    house.start()
    assert house.post(report(1)) == 200
    out = house.onhook("doctor")
    assert (_lines(out, "BAD"), _lines(out, "look")) == ("", "")
    assert all(
        word in out for word in ("the intake runs", "the hub runs", "every report could be read", "disk are free")
    )


def test_what_is_not_right_is_told_with_what_to_do(house: House) -> None:
    """A stranger, a wrong signature, an unreadable report, rights that are too wide."""
    house.start()
    house.post(report(1, sn="3699STRANGER"))
    house.post(report(1), secret="wrong")
    assert house.post(b'{"type":30012,"sn":"3631A2124ABC","msg":"{\\"call_id\\":1}"}') == 200
    (house.directory / "ledger.db").chmod(0o644)
    wait_until(lambda: "3699STRANGER" in house.onhook("doctor") and "could not be read" in house.onhook("doctor"))
    looked = _lines(house.onhook("doctor"), "look")
    assert "onhook pbx add NAME --sn 3699STRANGER" in looked
    assert "a wrong signature" in looked
    assert "onhook quarantine list" in looked
    assert "chmod go=" in looked


def test_what_keeps_it_from_working_fails(onhook: Command, house: House) -> None:
    """A port in use, damaged settings."""
    house.start()
    Path("onhook.toml").write_text(f'intake = "{house.address("intake")}"\nconsole = "127.0.0.1:0"\n')
    code, out, _ = onhook("doctor", "--data", "empty")
    assert code == 0
    assert "no data directory" in out
    Path("empty").mkdir(mode=0o700)
    (Path("empty") / "onhook.db").write_bytes(b"\xff" * 4096)
    code, out, _ = onhook("doctor", "--data", "empty")
    assert code == 1
    assert "could not listen" in _lines(out, "BAD")
    assert "onhook restore" in _lines(out, "BAD")
