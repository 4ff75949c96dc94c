"""The tool that keeps the message catalogues to the sources."""

from pathlib import Path

import pytest

from tools import catalogues
from tools.catalogues import (
    Text,
    extract_texts,
    find_mistakes,
    find_worded_forms,
    list_missing,
    list_problems,
    read_catalogue,
    write_catalogues,
)

MODULE = """
from onhook.lib.messages import _, _n, mark

TITLE = mark("Title")

def f(name):
    return _("PBX {name} of "
             "Onhook", name=f"<{name}>") + _n("1 call", "{count} calls", 2) + _(TITLE) + _("")
"""
TEMPLATE = """
{% if x %}
{{ _("Dashboard") }} {{ _n("1 leg", "{count} legs", 2) }} <a title="{{ _('Calls') }}">{{ _(x.title) }}</a>
{% endif %}
"""


def write_sources(root: Path) -> Path:
    (root / "console" / "templates").mkdir(parents=True)
    (root / "cli").mkdir()
    (root / "module.py").write_text(MODULE)
    (root / "console" / "templates" / "page.html").write_text(TEMPLATE)
    (root / "cli" / "command.py").write_text('_("Run")')
    return root


def make_directory(root: Path, **translations: str) -> Path:
    root.mkdir()
    for name, text in translations.items():
        (root / f"{name}.po").write_text(text)
    (root / "formats.json").write_text("")
    return root


def test_extract_texts_reads_modules_and_templates_without_commands(tmp_path: Path) -> None:
    assert extract_texts(write_sources(tmp_path)) == {
        "Dashboard": ["console/templates/page.html"],
        ("1 leg", "{count} legs"): ["console/templates/page.html"],
        "Calls": ["console/templates/page.html"],
        "PBX {name} of Onhook": ["module.py"],
        ("1 call", "{count} calls"): ["module.py"],
        "Title": ["module.py"],
    }


def test_write_catalogues_keeps_translations_and_removes_what_is_gone(tmp_path: Path) -> None:
    directory = make_directory(
        tmp_path / "po", de='msgid "Calls"\nmsgstr "Anrufe"\n\nmsgid "Old"\nmsgstr "Alt"\n\nmsgid "1 leg"\nmsgstr "x"\n'
    )
    texts: dict[Text, list[str]] = {"Calls": ["a"], "New": ["b"], ("1 leg", "{count} legs"): ["b"]}
    assert any("run `make fix`" in problem for problem in list_problems(texts, directory))
    write_catalogues(texts, directory)
    assert list(list_problems(texts, directory)) == []
    catalogue = read_catalogue(directory / "de.po")
    assert [message.id for message in catalogue if message.id] == [("1 leg", "{count} legs"), "Calls", "New"]
    assert list(list_missing(texts, directory / "de.po")) == ["# b", "'New'", "('1 leg', '{count} legs')"]
    first_text = (directory / "de.po").read_text()
    write_catalogues(texts, directory)
    assert (directory / "de.po").read_text() == first_text


def test_list_problems_names_texts_that_share_an_entry(tmp_path: Path) -> None:
    directory = make_directory(tmp_path / "po")
    write_catalogues({}, directory)
    texts: dict[Text, list[str]] = {("1 leg", "{count} legs"): ["a"], ("1 leg", "{count:,} legs"): ["b"]}
    (problem,) = list_problems(texts, directory)
    assert problem.startswith("'1 leg'")


def test_list_problems_needs_complete_languages_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = make_directory(tmp_path / "po", de="", fr="")
    texts: dict[Text, list[str]] = {"Calls": ["a"]}
    write_catalogues(texts, directory)
    monkeypatch.setattr(catalogues, "LANGUAGES", {"en": None, "de": None})
    assert list(list_problems(texts, directory)) == []
    (problem,) = list_problems(texts, directory, is_complete_needed=True)
    assert problem.startswith("de.po: 0.0%")


@pytest.mark.parametrize(
    ("text", "translation", "mistake"),
    [
        ("PBX {name}", "Anlage", "placeholders"),
        ("PBX {name}", "Anlage {nam}", "placeholders"),
        ("{count:,} calls", "{count} Anrufe", "placeholders"),
        ("run `onhook doctor`", "`onhook arzt` starten", "code"),
        ("<b>Calls</b>", "Anrufe", "markup"),
        ("Calls: ", "Anrufe:", "blanks"),
        ("one\ntwo", "eins zwei", "line breaks"),
        ("PBX {name}", "{name}: Anlage", ""),
        ('{"status": "busy"}', '{"status": "besetzt"}', ""),
    ],
)
def test_find_mistakes_compares_placeholders_code_and_markup(text: str, translation: str, mistake: str) -> None:
    catalogue = read_catalogue(Path("de.po"))
    mistakes = list(find_mistakes(catalogue.add(text, translation)))
    assert [mistake in name for name in mistakes] == ([True] if mistake else [])


@pytest.mark.parametrize(
    ("code", "forms", "is_right"),
    [
        ("de", ("ein Anruf", "{count} Anrufe"), True),
        ("de", ("{count} Anruf", "{count} Anrufe"), True),
        ("de", ("ein Anruf", "Anrufe"), False),
        ("de", ("ein Anruf", ""), False),
        ("zh", ("通话",), False),
        ("ar", ("لا مكالمات", "مكالمة", "مكالمتان", "{count} مكالمات", "{count} مكالمة", "{count} مكالمة"), True),
        ("ar", ("لا مكالمات", "مكالمة", "مكالمتان", "مكالمات", "{count} مكالمة", "{count} مكالمة"), False),
        ("ar", ("لا مكالمات", "مكالمة", "مكالمتان", "{count} مكالمات", "{count} مكالمة", "مكالمة"), False),
    ],
)
def test_find_mistakes_lets_the_forms_of_0_1_and_2_do_without_their_number(
    code: str, forms: tuple[str, ...], is_right: bool
) -> None:
    catalogue = read_catalogue(Path(f"{code}.po"))
    message = catalogue.add(("1 call", "{count} calls"), forms)
    assert bool(list(find_mistakes(message, find_worded_forms(catalogue)))) is not is_right


def test_find_mistakes_needs_the_other_placeholders_of_a_form_without_number() -> None:
    catalogue = read_catalogue(Path("ar.po"))
    text = ("1 call of {name}", "{count:,} calls of {name}")
    forms = ("لا {name}", "مكالمة {name}", "مكالمتان", "{count:,} {name}", "{count:,} {name}", "{count:,} {name}")
    (mistake,) = find_mistakes(catalogue.add(text, forms), find_worded_forms(catalogue))
    assert "placeholders" in mistake


def test_main_prints_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = make_directory(tmp_path / "po", de='msgid "Calls"\nmsgstr "Anrufe"\n')
    monkeypatch.setattr(catalogues, "DIRECTORY", directory)
    monkeypatch.setattr(catalogues, "extract_texts", lambda: {"Calls": ["a"], "New": ["b"]})
    assert catalogues.main(["--missing", "de"]) == 0
    assert capsys.readouterr().out == "# b\n'New'\n"
