"""`onhook sign-in`."""

from tests.cli.conftest import Command


def test_sign_in_second_factor_is_required_by_roles(onhook: Command) -> None:
    assert onhook("user", "add", "alice")[0] == 0
    assert onhook("sign-in", "require-factor", "reader", "administrator")[1].endswith(": administrator, reader\n")
    assert "administrator, reader" in onhook("sign-in", "show")[1]
    assert onhook("sign-in", "require-factor")[1] == "No role needs a second factor.\n"
    code, _, error = onhook("sign-in", "require-factor", "king")
    assert (code, "there is no role 'king'" in error) == (2, True)


def test_sign_in_address_of_the_console_is_set_and_stays(onhook: Command) -> None:
    assert onhook("user", "add", "alice")[0] == 0
    address = "https://calls.example.com"
    assert onhook("sign-in", "console-url", address + "/")[1] == f"Address of the console: {address}\n"
    assert onhook("sign-in", "require-factor", "reader")[0] == 0
    code, _, error = onhook("sign-in", "console-url", "calls.example.com")
    assert (code, "this is not the address of a console" in error) == (2, True)
    assert onhook("sign-in", "console-url", "")[1] == "Address of the console: -\n"
