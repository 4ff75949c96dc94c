"""`onhook pbx`."""

from tests.cli.conftest import Command

ADD = ("pbx", "add", "Office", "--sn", "3631A2124ABC", "--secret", "first-secret")


def test_a_pbx_is_added_listed_changed_and_removed(onhook: Command) -> None:
    """What was said is shown, the secret never."""
    assert onhook(*ADD, "--zone", "Europe/Berlin", "--queue", "6400-6499,7000")[0] == 0
    assert onhook("pbx", "secret", "add", "Office", "--secret", "second-secret", "--label", "rotated")[0] == 0
    _, out, _ = onhook("pbx", "list")
    assert all(word in out for word in ("Office", "3631A2124ABC", "Europe/Berlin", "1 webhook, 2 rotated"))
    assert "-secret" not in out
    assert onhook("pbx", "secret", "remove", "Office", "1")[0] == 0
    code, _, error = onhook("pbx", "secret", "remove", "Office", "2")
    assert (code, "add the new one first" in error) == (2, True)
    assert onhook("pbx", "change", "Office", "--name", "Head office", "--unsigned")[0] == 0
    assert onhook("pbx", "remove", "head office")[0] == 0
    assert onhook("pbx", "list")[1].count("\n") == 1


def test_a_pbx_is_there_once(onhook: Command) -> None:
    """By name and by serial number."""
    assert onhook(*ADD)[0] == 0
    code, _, error = onhook(*ADD)
    assert code == 2
    assert "already" in error
    assert "first-secret" not in error


def test_a_pbx_without_a_secret_cannot_be_made_to_sign(onhook: Command) -> None:
    """All its reports would be refused."""
    assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", "--unsigned")[0] == 0
    assert onhook("pbx", "change", "Office", "--signed")[0] == 2
    assert onhook("pbx", "secret", "add", "Office", "--secret", "first-secret")[0] == 0
    assert onhook("pbx", "change", "Office", "--signed")[0] == 0


OLD = ("pbx", "add", "Old office", "--sn", "369451090405", "--dialect", "newcdr")


def test_a_pbx_that_cannot_sign_is_told_by_its_place(onhook: Command) -> None:
    """An address or a secret path is asked for, and the path is shown to nobody."""
    code, _, error = onhook(*OLD)
    assert (code, "--from" in error) == (2, True)
    assert onhook(*OLD, "--from", "192.0.2.7", "--path", "/3kFz0qLrB7xN9sVe")[0] == 0
    assert onhook("pbx", "change", "Old office", "--from", "192.0.2.8")[0] == 0
    _, out, _ = onhook("pbx", "list")
    assert "192.0.2.8, a secret path" in out
    assert "3kFz0qLrB7xN9sVe" not in out


def test_a_dialect_that_nobody_speaks_is_refused(onhook: Command) -> None:
    """With those that there are; and one that signs has no place."""
    code, _, error = onhook(*ADD, "--dialect", "3cx")
    assert (code, "yeastar, newcdr" in error) == (2, True)
    assert onhook(*ADD, "--from", "192.0.2.7")[0] == 2
