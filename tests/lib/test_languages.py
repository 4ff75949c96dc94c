"""Languages: catalogues in files, the choice of a browser, and how dates and numbers are written."""

import io
from datetime import date

import pytest
from babel.messages.pofile import read_po

from onhook.lib import languages
from onhook.lib.errors import UsageError
from onhook.lib.languages import (
    LANGUAGES,
    FileCatalogue,
    Formats,
    get_formats,
    get_language,
    negotiate_language,
    parse_catalogue,
    use_language,
    validate_language,
)
from onhook.lib.messages import _, _n, use_catalogue
from tools.catalogues import DIRECTORY

PO = r"""
msgid ""
msgstr ""
"Language: xx\n"
"Plural-Forms: nplurals=2; plural=(n > 1);\n"

#, python-brace-format
msgid "1 call of {name}"
msgid_plural "{count} calls of {name}"
msgstr[0] "ein Anruf von {name}"
msgstr[1] "{count} Anrufe von {name}"

msgid "missed"
msgstr "verpasst"

msgid "answered"
msgstr ""

msgid "two\n\"lines\""
msgstr ""
"zwei\n"
"\"Zeilen\""
"""
FORMATS = Formats(decimal=",")


def catalogue_of(text: str) -> FileCatalogue:
    return FileCatalogue(LANGUAGES["en"], parse_catalogue(text), FORMATS)


def test_catalogue_translates_and_leaves_missing_texts_in_english() -> None:
    with use_catalogue(catalogue_of(PO)):
        assert [_("missed"), _("answered"), _("unknown")] == ["verpasst", "answered", "unknown"]
        assert _('two\n"lines"') == 'zwei\n"Zeilen"'
        assert _("") == ""


def test_catalogue_uses_its_own_rule_for_plurals() -> None:
    with use_catalogue(catalogue_of(PO)):
        texts = [_n("1 call of {name}", "{count} calls of {name}", number, name="Bob") for number in (0, 1, 2)]
        assert texts == ["ein Anruf von Bob", "ein Anruf von Bob", "2 Anrufe von Bob"]
        assert [_n("1 leg", "{count} legs", number) for number in (0, 1, 2)] == ["0 legs", "1 leg", "2 legs"]


def test_catalogue_of_a_language_without_plurals_has_one_form_for_all_numbers() -> None:
    header = 'msgid ""\nmsgstr ""\n"Plural-Forms: nplurals=1; plural=0;\\n"\n\n'
    with use_catalogue(
        catalogue_of(f'{header}msgid "1 leg"\nmsgid_plural "{{count}} legs"\nmsgstr[0] "{{count}} 段"\n')
    ):
        assert [_n("1 leg", "{count} legs", number) for number in (0, 1, 2)] == ["0 段", "1 段", "2 段"]


def test_catalogue_writes_numbers_with_a_format_in_the_signs_of_the_language() -> None:
    with use_catalogue(catalogue_of(PO)):
        text = _("{bytes:,} bytes in {seconds:g} seconds, {name}, {number}", bytes=12_345, seconds=1.5, name="1.5",
                 number=7)  # fmt: skip
        assert text == "12\u202f345 bytes in 1,5 seconds, 1.5, 7"


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*.po")), ids=lambda path: path.stem)
def test_catalogue_files_are_read_as_the_library_reads_them(path) -> None:  # type: ignore[no-untyped-def]
    catalogue = read_po(io.BytesIO(path.read_bytes()), locale=path.stem)
    expected = {}
    for message in catalogue:
        forms = (message.string,) if isinstance(message.string, str) else tuple(message.string or ())
        if message.id and all(forms):
            expected[message.id if isinstance(message.id, str) else message.id[0]] = forms
    own = parse_catalogue(path.read_text("utf-8"))
    assert f"Language: {path.stem}" in own.pop("")[0]
    assert own == expected


def test_negotiate_language_takes_the_best_one_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = dict.fromkeys(("en", "de", "fr"), LANGUAGES["en"])
    monkeypatch.setattr(languages, "LANGUAGES", offered)
    cases = {
        "": "en",
        "de": "de",
        "DE-at": "de",
        "fr;q=0.5, de;q=0.7": "de",
        "ja, fr;q=0.1": "fr",
        "de;q=0, ja": "en",
        "de;q=2, fr;q=x": "en",
        "*": "en",
        ",;=,": "en",
        "ja," * 400 + "de": "en",
    }
    assert {text: negotiate_language(text) for text in cases} == cases


def test_validate_language_rejects_one_that_is_not_there() -> None:
    validate_language("")
    validate_language("en")
    with pytest.raises(UsageError, match="xx"):
        validate_language("xx")


def test_use_language_ends_with_its_block() -> None:
    with use_catalogue(catalogue_of(PO)):
        with use_language("en"):
            assert _("missed") == "missed"
        with use_language(""):
            assert _("missed") == "verpasst"
            assert get_formats() == FORMATS
        assert _("missed") == "verpasst"
    assert (get_language().code, get_formats()) == ("en", Formats())


def test_formats_write_dates_by_patterns_of_the_cldr() -> None:
    formats = Formats(lone_months=tuple(f"month {number}" for number in range(1, 13)))
    day = date(2026, 4, 7)
    patterns = {
        "E, d. MMM y": "Tue, 7. Apr 2026",
        "dd/MM/y": "07/04/2026",
        "d 'de' MMMM 'de' y": "7 de April de 2026",
        "LLLL y": "month 4 2026",
        "y年M月d日": "2026年4月7日",
    }
    assert {pattern: formats.write_date(pattern, day) for pattern in patterns} == patterns
