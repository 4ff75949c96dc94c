"""Encodings of call files: a name is read in the letters in which it was written, or not at all."""

from pathlib import Path

import pytest

from onhook.lib.errors import UsageError
from onhook.sync.file_encoding import SNIFFED_BYTES, detect_encoding

ROW = "20261128035140AB3D1,2026-11-28 03:51:40,5550100,{name}<1001>,60\n"


def write(path: Path, name: str, encoding: str, *, rows_before: int = 0) -> Path:
    path.write_bytes((ROW.format(name="Ann") * rows_before + ROW.format(name=name)).encode(encoding))
    return path


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("Ann", "ascii"),
        ("Müller", "utf-8"),
        ("王", "utf-8"),
        ("Müller", "cp1252"),
        ("Süß-Größe", "cp1252"),
        ("MARTÍN GÓMEZ", "cp1252"),
        ("Peña Muñoz", "cp1252"),
        ("Hélène et Thérèse Lefèvre", "cp1252"),
        ("Zoé à Åse", "cp1252"),
        ("Bar „Zum Löwen“ — 5 €", "cp1252"),
    ],
)
def test_detect_encoding_of_letters_that_are_certain(tmp_path: Path, name: str, encoding: str) -> None:
    path = write(tmp_path / "cdr.csv", name, encoding)
    assert name in path.read_text(detect_encoding(path))


@pytest.mark.parametrize(
    ("name", "encoding", "example"),
    [
        ("Řehoř", "cp1250", "Øehoø"),
        ("Gdański", "cp1250", "Gdañski"),
        ("Poznań", "cp1250", "Poznañ"),
        ("Kovač", "cp1250", "Kovaè"),
        ("王", "gbk", "Íõ"),
        ("张伟", "gbk", "ÕÅ"),
        ("Иванов", "cp1251", "Èâàíîâ"),
        ("Παππάς", "cp1253", "Ð"),
        ("Y\u0131lmaz", "cp1254", "Yýlmaz"),
        ("Šarūnas", "cp1257", "Ðar"),
        ("田中", "shift_jis", ""),
        ("すずき", "shift_jis", ""),
        ("Søren", "cp1252", "Søren"),
        ("Kučera", "cp1250", "Kuèera"),
        ("Vlčková", "cp1250", "Vlèková"),
        ("Crète à Noèl", "cp1252", "Noèl"),
    ],
)
@pytest.mark.parametrize("rows_before", [0, SNIFFED_BYTES // 60])
def test_detect_encoding_of_letters_that_may_be_others_asks_for_it(
    tmp_path: Path, name: str, encoding: str, example: str, rows_before: int
) -> None:
    """Wherever they stand in the file."""
    path = write(tmp_path / "cdr.csv", name, encoding, rows_before=rows_before)
    with pytest.raises(UsageError, match="the encoding of the file is not certain") as error_info:
        detect_encoding(path)
    assert example in error_info.value.message
    assert "--encoding" in error_info.value.hint


@pytest.mark.parametrize(
    ("name", "encoding"), [("王", "gbk"), ("Řehoř", "cp1250"), ("Søren", "cp1252"), ("Müller", "utf-8")]
)
def test_detect_encoding_takes_the_configured_one_where_it_fits(tmp_path: Path, name: str, encoding: str) -> None:
    path = write(tmp_path / "cdr.csv", name, encoding)
    assert name in path.read_text(detect_encoding(path, "gbk" if encoding == "utf-8" else encoding))


def test_detect_encoding_leaves_a_configured_one_that_does_not_fit(tmp_path: Path) -> None:
    path = write(tmp_path / "cdr.csv", "Müller", "cp1252")
    assert detect_encoding(path, "ascii") == "cp1252"
