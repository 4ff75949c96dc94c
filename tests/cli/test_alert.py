"""`onhook alert`: the channels of users, as on their page."""

from tests.cli.conftest import Command


def test_alert_channels_are_added_changed_tested_and_removed(onhook: Command) -> None:
    onhook("user", "add", "alice", "--email", "alice@example.com")
    kind = ("--notifies-of", "issues", "--chosen-by-users")
    assert onhook("destination", "add", "pager", "--url", "https://127.0.0.1:9/", "--allow-private", *kind)[0] == 0
    assert onhook("alert", "add", "--user", "alice", "--destination", "pager", "--kind", "alarm_silence")[0] == 0
    assert onhook("alert", "add", "--user", "alice")[0] == 0
    assert onhook("alert", "quiet-hours", "--user", "alice", "--begin", "22", "--end", "7", "--in-zone", "UTC")[0] == 0
    _code, text, _err = onhook("alert", "list")
    pager, mail = text.splitlines()[-2:]
    assert all(word in pager for word in ("1", "alice", "pager", "alarm_silence", "22:00-07:00 UTC"))
    assert all(word in mail for word in ("2", "mail", "all"))
    assert onhook("alert", "change", "1", "--kind", "check")[0] == 0
    assert "alarm_silence" not in onhook("alert", "list")[1].splitlines()[-2]
    code, text, _err = onhook("alert", "test", "1")
    assert (code, "within seconds" in text) == (0, True)
    assert "1" in onhook("destination", "deliveries", "pager")[1]
    code, _text, error = onhook("alert", "test", "2")
    assert (code, "mail server" in error) == (1, True)
    assert onhook("alert", "remove", "1")[0] == 0
    assert onhook("alert", "remove", "1")[0] == 1


def test_alert_channels_that_cannot_be_are_rejected(onhook: Command) -> None:
    onhook("user", "add", "bob", "--number", "1001")
    onhook("user", "add", "alice")
    for arguments, code, message in (
        (("--user", "bob"), 2, "is limited"),
        (("--user", "carol"), 1, "carol"),
        (("--user", "alice", "--kind", "weather"), 2, "no kind of issues"),
        (("--user", "alice", "--destination", "pager"), 1, "pager"),
    ):
        result = onhook("alert", "add", *arguments)
        assert (result[0], message in result[2]) == (code, True), result
