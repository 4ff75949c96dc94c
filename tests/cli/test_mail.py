"""`onhook mail`: the mail server of the installation, and the mails."""

from tests.cli.conftest import Command

SET = ("mail", "set", "127.0.0.1", "--from", "calls@example.com", "--allow-private", "--tls", "off", "--port", "1")


def test_mail_server_is_set_shown_tested_and_removed(onhook: Command) -> None:
    assert onhook(*SET, "--user", "onhook", "--password", "correct horse")[0] == 0
    code, text, _error = onhook("mail", "show")
    assert (code, "127.0.0.1:1" in text, "correct horse" in text) == (0, True, False)
    code, _text, error = onhook("mail", "test", "ann@example.com")
    assert (code, "was not sent: cannot connect to 127.0.0.1:1" in error) == (1, True)
    code, text, _error = onhook("mail", "list")
    assert (code, "ann@example.com" in text) == (0, False)
    for command in ("retry", "discard"):
        code, _text, error = onhook("mail", command, "7")
        assert (code, "mail 7 is not pending" in error) == (1, True)
    assert onhook("mail", "remove")[1] == "Mail server removed.\n"
    assert "no mail server is set" in onhook("mail", "show")[2]


def test_mail_server_password_comes_from_one_place(onhook: Command) -> None:
    code, _text, error = onhook(*SET, "--password", "a", "--password-file", "b")
    assert (code, "given twice" in error) == (2, True)
    code, _text, error = onhook(*SET, "--ca-file", "missing.pem")
    assert (code, "cannot read the certificates" in error) == (2, True)
    code, _text, error = onhook(*SET, "--user", "onhook")
    assert (code, "password of 'onhook' is missing" in error) == (2, True)


def test_mail_notify_adds_lists_and_removes_recipients(onhook: Command) -> None:
    assert onhook(*SET)[0] == 0
    code, text, _error = onhook("mail", "notify", "ops@example.com", "--of", "check", "--mails-per-hour", "2")
    assert (code, text.splitlines()[1].split()) == (0, ["ops@example.com", "check", "2"])
    assert "destination, alarm, rejected, check" in onhook("mail", "notify", "ops@example.com")[1]
    assert "ops@example.com" not in onhook("mail", "notify", "ops@example.com", "--remove")[1]
    code, _text, error = onhook("mail", "notify", "--remove")
    assert (code, "address is missing" in error) == (2, True)
