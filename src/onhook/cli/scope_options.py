"""Options of what users and tokens may see and do."""

from collections.abc import Mapping
from typing import Annotated

import typer

from onhook.appdb.tokens import Role
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.number_masking import Mask
from onhook.lib.messages import _

RoleOption = Annotated[
    Role,
    typer.Option("--role", help=_("reader, annotator (also writes notes), administrator (also changes settings)")),
]
PbxScopeOption = Annotated[
    list[str] | None,
    typer.Option("--pbx", metavar="NAME", help=_("Limit to calls of this PBX; repeatable")),
]
NumberScopeOption = Annotated[
    list[str] | None,
    typer.Option("--number", metavar="NUMBER", help=_("Limit to calls of this extension; repeatable")),
]
DepartmentScopeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--department", metavar="NAME", help=_("Limit to calls of extensions that the directory has in it; repeatable")
    ),
]
SiteScopeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--site", metavar="NAME", help=_("Limit to calls of extensions that the directory has there; repeatable")
    ),
]
MaskOption = Annotated[
    Mask,
    typer.Option(
        "--mask", help=_("External numbers: none, last3 (without their last three digits), hash (as a keyed hash)")
    ),
]
PermissionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--permission",
        metavar="NAME",
        help=_(
            "share (dashboards and questions of their own with all users), links (to wallboards), mail (reports to"
            " other addresses); repeatable"
        ),
    ),
]


def describe_scope(scope: AccessScope | None, names: Mapping[str, str]) -> str:
    """Return a scope for a list; `names` are those of PBXs by serial number, which stands for a removed one."""
    if scope is None:
        return _("everything")
    pbxs = ", ".join(names.get(sn, sn) for sn in scope.sns or ())
    numbers = ", ".join(scope.numbers or ())
    departments = _("department {names}", names=", ".join(scope.departments)) if scope.departments else ""
    sites = _("site {names}", names=", ".join(scope.sites)) if scope.sites else ""
    is_unlimited = scope.sns is None and not scope.limits_numbers
    texts = "; ".join(text for text in (pbxs, numbers, departments, sites) if text)
    limits = _("everything") if is_unlimited else texts or _("nothing")
    return limits if scope.mask == "none" else f"{limits}; " + _("numbers masked: {mask}", mask=scope.mask)
