"""The directory as a CSV file: written for a spreadsheet, and read again from one."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from onhook.appdb.pbxs import Pbx
from onhook.cdr.csv_injection import escape_cell, unescape_cell
from onhook.cdr.directory import ENTRY_KINDS, DirectoryEntry, check_entry
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

COLUMNS: Final = ("kind", "pbx", "number", "name", "department", "site", "company")

REQUIRED_COLUMNS: Final = ("number", "name")

FILE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Some 50,000 lines."""

ROWS_MAX: Final = 20_000
"""In one file: an import is one transaction, of less than a second."""

ERRORS_SHOWN_MAX: Final = 10
"""A wrong column makes an error of each line."""

_SEPARATORS: Final = ",;\t"


def parse_directory_csv(content: bytes, pbxs: Sequence[Pbx]) -> list[DirectoryEntry]:
    """Return the entries of a file, in any order of COLUMNS; spreadsheets separate them by commas, semicolons or tabs.
    A row without a kind is an extension; one without a PBX belongs to the only one. Raises `UsageError` that names
    lines.
    """
    lines = csv.reader(io.StringIO(_decode(content), newline=""), delimiter=_find_separator(content))
    errors: list[str] = []
    entries: list[DirectoryEntry] = []
    line_numbers: dict[tuple[str, str], int] = {}
    try:
        columns = _parse_header(next(lines, []))
        for cells in lines:
            if not any(cell.strip() for cell in cells):
                continue
            try:
                entry = parse_entry(_name_cells(columns, cells), pbxs)
            except UsageError as error:
                errors.append(_("line {line}: {error}", line=lines.line_num, error=error))
                continue
            first_line = line_numbers.setdefault((entry.sn, entry.number), lines.line_num)
            if first_line != lines.line_num:
                errors.append(
                    _(
                        "line {line}: {number} is in line {first_line} too",
                        line=lines.line_num,
                        number=entry.number,
                        first_line=first_line,
                    )
                )
            entries.append(entry)
            if len(entries) > ROWS_MAX:
                raise UsageError(
                    _("the file has more than {maximum} rows", maximum=ROWS_MAX), hint=_("import it in parts")
                )
    except csv.Error as error:
        errors.append(_("line {line}: {error}", line=lines.line_num, error=error))
    _raise_errors(errors)
    return entries


def parse_entry(texts: Mapping[str, str], pbxs: Sequence[Pbx]) -> DirectoryEntry:
    """Return the entry of texts by column; `pbx` is a name or a serial number. Raises `UsageError`."""
    kind = texts.get("kind", "").strip().lower().replace(" ", "_") or "extension"
    if kind not in ENTRY_KINDS:
        raise UsageError(
            _("unknown kind {kind}", kind=repr(kind[:20])),
            parameter="kind",
            hint=_("use one of {choices}", choices=", ".join(ENTRY_KINDS)),
        )
    pbx = texts.get("pbx", "").strip()
    sn = find_sn(pbx, pbxs) if pbx or kind != "contact" else ""
    values = {name: texts.get(name, "") for name in COLUMNS if name not in ("kind", "pbx")}
    return check_entry(DirectoryEntry(sn=sn, kind=kind, **values))


def find_sn(name: str, pbxs: Sequence[Pbx]) -> str:
    """Return the serial number of the PBX with a name or serial number, or of the only one. Raises `UsageError`."""
    folded = name.casefold()
    matches = [pbx.sn for pbx in pbxs if not name or folded in (pbx.name.casefold(), pbx.sn.casefold())]
    if len(matches) == 1:
        return matches[0]
    if name:
        raise UsageError(
            _("there is no PBX {name}", name=repr(name[:80])),
            parameter="pbx",
            hint=_("`onhook pbx list` shows them"),
        )
    raise UsageError(_("the PBX is missing"), parameter="pbx", hint=_("name it: there are several, or none"))


def format_directory_csv(entries: Iterable[DirectoryEntry], names_by_sn: Mapping[str, str]) -> str:
    """Return a file that `parse_directory_csv` reads; a removed PBX is named by its serial number."""
    output = io.StringIO(newline="")
    writer = csv.writer(output)
    writer.writerow(COLUMNS)
    for entry in entries:
        pbx = names_by_sn.get(entry.sn, entry.sn)
        texts = (entry.kind, pbx, entry.number, entry.name, entry.department, entry.site, entry.company)
        writer.writerow([escape_cell(text) for text in texts])
    return output.getvalue()


def _decode(content: bytes) -> str:
    if len(content) > FILE_BYTES_MAX:
        raise UsageError(
            _("the file is larger than {maximum} MiB", maximum=FILE_BYTES_MAX // 1024 // 1024),
            hint=_("import it in parts"),
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(_("the file is not UTF-8"), hint=_("save it as “CSV UTF-8”")) from None


def _find_separator(content: bytes) -> str:
    """Return the separator that occurs most often in the first line."""
    first_line = content.split(b"\n", 1)[0].decode(errors="replace")
    return max(_SEPARATORS, key=first_line.count)


def _parse_header(cells: Sequence[str]) -> list[str]:
    columns = [cell.strip().lower() for cell in cells]
    unknown = [column for column in columns if column not in COLUMNS]
    missing = [column for column in REQUIRED_COLUMNS if column not in columns]
    if unknown or missing or len(set(columns)) < len(columns):
        raise UsageError(
            _("the first line does not have the names of the columns"),
            hint=_(
                "use some of {columns}, each once; {required} are required",
                columns=", ".join(COLUMNS),
                required=", ".join(REQUIRED_COLUMNS),
            ),
        )
    return columns


def _name_cells(columns: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    if len(cells) > len(columns):
        raise UsageError(
            _("there are more cells than columns"), hint=_("put a text with separators in quotation marks")
        )
    return {column: unescape_cell(cell) for column, cell in zip(columns, cells, strict=False)}


def _raise_errors(errors: Sequence[str]) -> None:
    if not errors:
        return
    error_list = "; ".join(errors[:ERRORS_SHOWN_MAX])
    if len(errors) > ERRORS_SHOWN_MAX:
        error_list += "; " + _("and {count} more", count=len(errors) - ERRORS_SHOWN_MAX)
    raise UsageError(_("nothing was imported: {errors}", errors=error_list))
