"""`onhook sign-in`."""

from tests.cli.conftest import Command


def test_sign_in_second_factor_is_required_by_roles(onhook: Command) -> None:
    assert onhook("user", "add", "alice")[0] == 0
    assert onhook("sign-in", "require-factor", "reader", "administrator")[1].endswith(": administrator, reader\n")
    assert "administrator, reader" in onhook("sign-in", "show")[1]
    assert onhook("sign-in", "require-factor")[1] == "No role needs a second factor.\n"
    code, _, error = onhook("sign-in", "require-factor", "king")
    assert (code, "there is no role 'king'" in error) == (2, True)
