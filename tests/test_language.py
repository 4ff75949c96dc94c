"""The language check: each rule has a text that violates it, and allowed texts pass."""

from collections.abc import Callable, Iterator

import pytest

from tools.language import (
    Violation,
    check_class_names,
    check_identifiers,
    check_merges,
    check_text,
    split_identifiers,
)

Check = Callable[[str, str], Iterator[Violation]]


@pytest.mark.parametrize(
    ("check", "text", "message"),
    [
        (check_text, "a stranger sent this", "`stranger`: write unknown PBX."),
        (check_text, "\nNobody is notified", "docs/a.md:2: `Nobody`"),
        (check_text, "class SettingsDoor:", "`Door`: write receiver, registry."),
        (check_text, "owed_events = 3", "`owed`: write pending."),
        (check_text, "a made-up PBX", "write simulated."),
        (check_text, "it is sent no more", "write no longer."),
        (check_text, "the endpoint asked to wait", "write requests a delay."),
        (check_identifiers, "told = 3", "the name `told` says nothing"),
        (check_identifiers, "def read(one: int) -> int: ...", "the name `one` says nothing"),
    ],
)
def test_language_banned_text_is_reported(check: Check, text: str, message: str) -> None:
    (violation,) = check("docs/a.md", text)
    assert message in str(violation)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (check_text, "the owner of the warehouse takes no more than 5 seconds"),
        (check_text, "an outdoor telephone"),
        (check_identifiers, "started_at = not_found = 1"),
        (check_identifiers, "text = 'one at a time'"),
    ],
)
def test_language_plain_text_passes(check: Check, text: str) -> None:
    assert list(check("docs/a.md", text)) == []


def test_language_allowed_word_passes_only_in_its_files() -> None:
    text = "a parked call"
    assert list(check_text("src/onhook/pbx/asterisk/call.py", text)) == []
    assert len(list(check_text("src/onhook/delivery/worker.py", text))) == 1


def test_language_class_name_used_twice_is_reported() -> None:
    sources = {"src/a.py": "class Answer: ...", "src/b.py": "class Answer: ...\nclass _Answer: ..."}
    (violation,) = check_class_names(sources)
    assert str(violation) == "src/b.py:1: the class name `Answer` is used in src/a.py too: give it another one."


def test_language_merge_commit_is_reported() -> None:
    (violation,) = check_merges(["1a2b3c4 Merge branch 'delivery'"])
    assert "is a merge commit: rebase." in str(violation)


def test_language_identifiers_are_split_into_words() -> None:
    assert split_identifiers("SettingsDoor.is_owed") == "Settings Door.is owed"
