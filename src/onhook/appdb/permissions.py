"""What users who are no administrators may do besides their role."""

from collections.abc import Iterable
from typing import Literal, get_args

from onhook.appdb.tokens import Role
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

Permission = Literal["share", "links", "mail"]
"""`share`: share dashboards and saved questions of their own with all users. `links`: make links to wallboards, which
show no more than their author sees. `mail`: have reports sent to addresses that are not their own. An administrator may
do all.
"""

PERMISSIONS: tuple[Permission, ...] = get_args(Permission)


def validate_permissions(role: Role, names: Iterable[str]) -> tuple[Permission, ...]:
    """Return the permissions of these names, each once and in order; an administrator's, who has all, are not stored.
    Raises `UsageError`.
    """
    wanted = {name.strip() for name in names if name.strip()}
    unknown = sorted(wanted.difference(PERMISSIONS))
    if unknown:
        raise UsageError(
            _("there is no permission {name}", name=repr(unknown[0][:80])),
            parameter="permissions",
            hint=_("use one of {names}", names=", ".join(PERMISSIONS)),
        )
    return () if role == "administrator" else tuple(name for name in PERMISSIONS if name in wanted)


def encode_permissions(permissions: Iterable[Permission]) -> str:
    """Return the stored form."""
    return ",".join(permissions)


def decode_permissions(text: str, role: Role) -> tuple[Permission, ...]:
    """Return the permissions of their stored form. Raises `UsageError`."""
    return validate_permissions(role, text.split(","))
