"""`onhook directory`."""

from pathlib import Path

from tests.cli.conftest import Command


def add_pbx(onhook: Command, name: str = "Office", sn: str = "3631A2124ABC") -> None:
    assert onhook("pbx", "add", name, "--sn", sn, "--unsigned")[0] == 0


def test_directory_entry_is_set_listed_and_removed(onhook: Command) -> None:
    add_pbx(onhook)
    code, output, _error = onhook(
        "directory", "set", "1001", "Alice Smith", "--department", "Sales", "--site", "Berlin"
    )
    assert (code, output) == (0, "1001 is Alice Smith.\n")
    assert onhook("directory", "set", "+49 30 901820", "Carol", "--kind", "contact", "--company", "ACME")[0] == 0
    contact, extension = onhook("directory", "list")[1].splitlines()[1:]
    assert contact.split() == ["contact", "+49", "30", "901820", "Carol", "ACME", "set"]
    assert extension.split() == ["extension", "Office", "1001", "Alice", "Smith", "Sales", "Berlin", "set"]
    assert onhook("directory", "remove", "1001", "--pbx", "office")[1] == "1001 removed.\n"
    assert onhook("directory", "remove", "+49 30 901820", "--kind", "contact")[0] == 0
    code, _output, error = onhook("directory", "remove", "1001")
    assert (code, "no entry for '1001'" in error) == (1, True)


def test_directory_export_is_imported_elsewhere(onhook: Command) -> None:
    add_pbx(onhook)
    Path("people.csv").write_text("number;name;department\n1001;Alice;Sales\n1002;Bob;\n", encoding="utf-8")
    assert onhook("directory", "import", "people.csv")[1] == "Entries imported: 2.\n"
    exported = onhook("directory", "export")[1]
    assert exported.splitlines() == [
        "kind,pbx,number,name,department,site,company",
        "extension,Office,1001,Alice,Sales,,",
        "extension,Office,1002,Bob,,,",
    ]
    for number in ("1001", "1002"):
        assert onhook("directory", "remove", number)[0] == 0
    Path("export.csv").write_text(exported, encoding="utf-8")
    assert onhook("directory", "import", "export.csv")[0] == 0
    assert onhook("directory", "export")[1] == exported


def test_directory_errors_say_what_to_do(onhook: Command) -> None:
    add_pbx(onhook)
    add_pbx(onhook, "Other", "3631A2124ABD")
    Path("wrong.csv").write_text("number,name,pbx\n1001,,Office\n1002,Bob,Nowhere\n", encoding="utf-8")
    for words, sentence in (
        (("set", "1001", "Alice"), "the PBX is missing: name it"),
        (("set", "1001", "Alice", "--pbx", "Nowhere"), "there is no PBX 'Nowhere': `onhook pbx list`"),
        (("import", "wrong.csv"), "nothing was imported: line 2: the name is missing; line 3: there is no PBX"),
        (("import", "missing.csv"), "there is no file missing.csv"),
    ):
        code, _output, error = onhook("directory", *words)
        assert (code in (1, 2), sentence in error) == (True, True), error
    assert onhook("directory", "list")[1].splitlines()[1:] == []
