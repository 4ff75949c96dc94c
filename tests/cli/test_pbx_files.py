"""`onhook pbx files`: the folder in which a PBX leaves files."""

import pytest

from tests.cli.conftest import Command

ADD = ("pbx", "add", "Office", "--type", "3cx", "--listen", "127.0.0.1:5015")


def test_pbx_files_sets_shows_and_removes_a_folder(onhook: Command) -> None:
    assert onhook(*ADD)[0] == 0
    assert onhook("pbx", "files", "Office")[1] == "Office has no folder of files.\n"
    code, text, _error = onhook("pbx", "files", "Office", "/CDRLogs", "--move-to", "/stored")
    assert (code, "onhook pbx files Office" in text) == (0, True)
    heading, row = onhook("pbx", "files", "Office")[1].splitlines()
    assert heading.split()[:3] == ["folder", "move", "to"]
    assert row.split()[:2] == ["/CDRLogs", "/stored"]
    assert onhook("pbx", "files", "Office", "--remove")[1] == "The files of Office are no longer stored.\n"
    assert "no folder" in onhook("pbx", "files", "Office")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("/CDRLogs", "--remove"), "is set or removed"),
        (("--move-to", "/stored"), "no folder whose files"),
        (("/CDRLogs", "--move-to", "/CDRLogs"), "in the folder from which"),
    ],
)
def test_pbx_files_with_options_that_exclude_each_other_is_refused(
    onhook: Command, arguments: tuple[str, ...], message: str
) -> None:
    assert onhook(*ADD)[0] == 0
    code, _text, error = onhook("pbx", "files", "Office", *arguments)
    assert (code, message in error) == (2, True)


def test_pbx_files_of_a_pbx_that_leaves_none_is_refused(onhook: Command) -> None:
    assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", "--secret", "first-secret")[0] == 0
    code, _text, error = onhook("pbx", "files", "Office", "/CDRLogs")
    assert (code, "leaves no files" in error) == (2, True)
