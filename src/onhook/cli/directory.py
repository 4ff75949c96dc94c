"""`onhook directory`: names of extensions, queues, DIDs and external contacts."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from onhook.appdb.appdb import AppDb
from onhook.appdb.directory_csv import FILE_BYTES_MAX, find_sn, format_directory_csv, parse_directory_csv, parse_entry
from onhook.cdr.directory import EntryKind
from onhook.cli.commands import CommandGroup
from onhook.cli.formats import print_table
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption
from onhook.lib.errors import NotFound
from onhook.lib.messages import _

app = CommandGroup(
    add_completion=False,
    help=_("Manage names of extensions, queues, DIDs and contacts."),
    epilog="Example: onhook directory import people.csv",
)

Number = Annotated[str, typer.Argument(metavar="NUMBER", help=_("Extension, queue, DID or telephone number"))]
PbxOption = Annotated[
    str, typer.Option("--pbx", metavar="NAME", help=_("PBX of the number; not needed where there is one"))
]
KindOption = Annotated[EntryKind, typer.Option("--kind", help=_("What the number is"))]


@app.command("list", epilog="Example: onhook directory list")
async def list_entries(data: DataOption = None) -> None:
    """List all names: those that were set, those that PBXs list, then those that were learnt from events."""
    async with open_appdb(data) as appdb:
        names = await _load_pbx_names(appdb)
        entries = await appdb.directory.entries()
        set_numbers = {(entry.sn, entry.number) for entry in entries}
        rows = [
            [
                *(entry.kind, names.get(entry.sn, entry.sn), entry.number, entry.name),
                *(entry.department, entry.site, entry.company, _("set")),
            ]
            for entry in entries
        ]
        listed_names = await appdb.directory.pbx_names()
        rows += [
            [pbx_name.kind, names.get(pbx_name.sn, pbx_name.sn), pbx_name.number, pbx_name.name, "", "", "", _("PBX")]
            for pbx_name in listed_names
            if (pbx_name.sn, pbx_name.number) not in set_numbers
        ]
        set_numbers |= {(pbx_name.sn, pbx_name.number) for pbx_name in listed_names}
        rows += [
            ["", names.get(learnt.sn, learnt.sn), learnt.number, learnt.name, "", "", "", _("learnt")]
            for learnt in await appdb.directory.learnt_names()
            if (learnt.sn, learnt.number) not in set_numbers
        ]
    print_table(rows, ("kind", "pbx", "number", "name", "department", "site", "company", "source"))


@app.command("set", epilog="Example: onhook directory set 1001 'Alice Smith' --department Sales --site Berlin")
async def set_entry(
    number: Number,
    name: Annotated[str, typer.Argument(metavar="NAME", help=_("The name that is shown"))],
    *,
    kind: KindOption = "extension",
    pbx: PbxOption = "",
    department: Annotated[str, typer.Option("--department", metavar="TEXT", help=_("Department"))] = "",
    site: Annotated[str, typer.Option("--site", metavar="TEXT", help=_("Site"))] = "",
    company: Annotated[str, typer.Option("--company", metavar="TEXT", help=_("Company of a contact"))] = "",
    data: DataOption = None,
) -> None:
    """Set the name of a number, which beats one that the PBX lists or that is learnt from events. An entry is replaced
    as a whole.
    """
    texts = {
        "kind": kind,
        "pbx": pbx,
        "number": number,
        "name": name,
        "department": department,
        "site": site,
        "company": company,
    }
    async with open_appdb(data) as appdb:
        await appdb.directory.put([parse_entry(texts, await appdb.pbxs())])
    print(_("{number} is {name}.", number=number, name=name))


@app.command("remove", epilog="Example: onhook directory remove 1001 --pbx Office")
async def remove(
    number: Number, *, kind: KindOption = "extension", pbx: PbxOption = "", data: DataOption = None
) -> None:
    """Remove an entry; the name that the PBX lists, or that was learnt, is shown again. A contact has the kind
    `contact`.
    """
    async with open_appdb(data) as appdb:
        sn = "" if kind == "contact" else find_sn(pbx, await appdb.pbxs())
        await appdb.directory.remove(sn, number)
    print(_("{number} removed.", number=number))


@app.command("import", epilog="Example: onhook directory import people.csv")
async def import_entries(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=_("CSV file with a line of column names"))],
    data: DataOption = None,
) -> None:
    """Add the entries of a CSV file, and replace those with the same number; all or none. Its columns: kind, pbx,
    number, name, department, site, company.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise NotFound(_("there is no file {path}", path=file)) from None
    async with open_appdb(data) as appdb:
        entries = parse_directory_csv(content, await appdb.pbxs())
        await appdb.directory.put(entries)
    print(_("Entries imported: {count}.", count=len(entries)))


@app.command("export", epilog="Example: onhook directory export > people.csv")
async def export(data: DataOption = None) -> None:
    """Write the entries that were set as a CSV file to standard output, for `onhook directory import`."""
    async with open_appdb(data) as appdb:
        text = format_directory_csv(await appdb.directory.entries(), await _load_pbx_names(appdb))
    sys.stdout.write(text)


async def _load_pbx_names(appdb: AppDb) -> dict[str, str]:
    return {pbx.sn: pbx.name for pbx in await appdb.pbxs()}
