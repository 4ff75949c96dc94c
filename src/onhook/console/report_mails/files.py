"""The files of a report: CSV and XLSX. Whole seconds, shares between 0 and 1, times of the zone of the schedule."""

import importlib
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

import msgspec

from onhook.appdb.mails import MailAttachment
from onhook.appdb.report_spec import FileFormat
from onhook.cdr.csv_injection import escape_formula
from onhook.console.pages.reports.page import as_csv
from onhook.console.pages.reports.report import Report
from onhook.lib.messages import _

FILE_ROWS_MAX = 10_000
"""Of a file that is mailed; exports have no such limit."""

SHEET_NAME_CHARACTERS_MAX = 31
"""Excel's limit."""

COLUMN_CHARACTERS_MAX = 40
TIME_CHARACTERS = 19
MEASURED_ROWS = 100
"""By which the width of a column is chosen."""

CONTENT_TYPES = {
    **dict.fromkeys(("csv", "csv-comma", "csv-semicolon"), "text/csv"),
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def make_file(
    file_format: FileFormat, report: Report, zone: ZoneInfo, *, name: str, titles: Sequence[str]
) -> MailAttachment:
    """Return a table as CSV or XLSX, without the rows beyond FILE_ROWS_MAX; `titles` are those of its columns. It takes
    up to a second.
    """
    report = msgspec.structs.replace(report, rows=report.rows[:FILE_ROWS_MAX])
    make: Mapping[str, Callable[[Report, ZoneInfo], bytes]] = {
        "csv": as_csv,
        "csv-comma": partial(as_csv, separator=","),
        "csv-semicolon": partial(as_csv, separator=";"),
        "xlsx": _as_xlsx,
    }
    titled = msgspec.structs.replace(
        report,
        columns=[
            msgspec.structs.replace(column, title=title) for column, title in zip(report.columns, titles, strict=True)
        ],
    )
    base, _dash, variant = file_format.partition("-")
    file_name = f"{name}-{variant}.{base}" if variant else f"{name}.{base}"
    return MailAttachment(file_name, CONTENT_TYPES[file_format], make[file_format](titled, zone))


def _as_xlsx(report: Report, zone: ZoneInfo) -> bytes:
    file = io.BytesIO()
    # Loaded by the first such file: it is large, and most installations make none.
    workbook = importlib.import_module("xlsxwriter").Workbook(file, {"in_memory": True})
    formats = {
        "time": workbook.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
        "share": workbook.add_format({"num_format": "0.0%"}),
        # Excel keeps a text in such a cell as a text even after an edit.
        "text": workbook.add_format({"quote_prefix": True}),
        "title": workbook.add_format({"bold": True}),
    }
    sheet = workbook.add_worksheet(_("Report")[:SHEET_NAME_CHARACTERS_MAX])
    for index, column in enumerate(report.columns):
        sheet.write_string(0, index, column.title, formats["title"])
        sheet.set_column(index, index, _column_width(report, index))
    sheet.freeze_panes(1, 0)
    for row_index, row in enumerate(report.rows, start=1):
        for column_index, cell in enumerate(row):
            place = (row_index, column_index)
            match cell.value:
                case None:
                    pass
                case datetime() as time:
                    sheet.write_datetime(*place, time.astimezone(zone).replace(tzinfo=None), formats["time"])
                case float() as share:
                    sheet.write_number(*place, share, formats["share"])
                case int() as number if not cell.name:
                    sheet.write_number(*place, number)
                case _value:
                    sheet.write_string(*place, cell.label, formats["text"] if _needs_format(cell.label) else None)
    workbook.close()
    return file.getvalue()


def _needs_format(text: str) -> bool:
    return text[:1] == "+" or escape_formula(text) != text


def _column_width(report: Report, index: int) -> int:
    """Return the width of a column in characters."""
    widths = [
        TIME_CHARACTERS if isinstance(row[index].value, datetime) else len(row[index].label)
        for row in report.rows[:MEASURED_ROWS]
    ]
    return min(max([len(report.columns[index].title), *widths]), COLUMN_CHARACTERS_MAX) + 2
