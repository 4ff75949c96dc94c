"""Rows of PBXs and tokens, and the values that they stand for."""

from onhook.appdb.contract import Row
from onhook.appdb.pbxs import Pbx, Secret, validate_dialect, validate_zone
from onhook.appdb.stored_json import decode_column, encode_column
from onhook.appdb.tokens import Token, validate_role
from onhook.appdb.users import decode_scope
from onhook.cdr.number_plan import NumberPlan
from onhook.lib.timestamps import to_datetime

_PRINTABLE = "".join(map(chr, range(ord("!"), ord("~") + 1))).replace("'", "''")

PBX_COLUMNS = (
    "name, sn, dialect, zone, is_unsigned, number_plan, created_at, (SELECT count(*) FROM secrets WHERE sn = p.sn),"
    # A damaged serial number, which is no ASCII, disables itself and not its PBX.
    " (SELECT group_concat(sn, ' ') FROM serial_numbers"
    f" WHERE pbx_sn = p.sn AND is_accepted = 1 AND trim(sn, '{_PRINTABLE}') = ''),"
    " keeps_unregistered"
)
"""Of the table `pbxs` as `p`."""

TOKEN_COLUMNS = (
    "name, role, scope, created_at, last_used_at, expires_at,"  # noqa: S105 - SQL
    " (SELECT export_filter FROM share_tokens s WHERE s.name = tokens.name) AS export_filter"
)


def decode_pbx(row: Row) -> Pbx:
    """Return the PBX of a row of PBX_COLUMNS. Raises what decoding raises."""
    name, sn, dialect, zone, is_unsigned, number_plan, created_at, secrets, further_sns, keeps_unregistered = row
    return Pbx(
        name=name,
        sn=sn,
        dialect=validate_dialect(dialect),
        zone=validate_zone(zone),
        is_unsigned=bool(is_unsigned),
        number_plan=decode_column(number_plan, NumberPlan),
        created_at=to_datetime(created_at),
        secrets=secrets,
        further_sns=tuple(sorted((further_sns or "").split())),
        keeps_unregistered=bool(keeps_unregistered),
    )


def decode_token(row: Row) -> Token:
    """Return the token of a row of TOKEN_COLUMNS. Raises what decoding raises."""
    name, role, scope, created_at, last_used_at, expires_at, export_filter = row
    return Token(
        name=name,
        role=validate_role(role),
        scope=decode_scope(scope),
        export_filter=export_filter,
        created_at=to_datetime(created_at),
        last_used_at=None if last_used_at is None else to_datetime(last_used_at),
        expires_at=None if expires_at is None else to_datetime(expires_at),
    )


def decode_secret(row: Row) -> Secret:
    """Return the secret of a row of `secret_id`, `label`, `created_at`. Raises what decoding raises."""
    secret_id, label, created_at = row
    return Secret(secret_id=secret_id, label=label, created_at=to_datetime(created_at))


def encode_number_plan(number_plan: NumberPlan) -> str:
    """Encode what differs from the defaults, so that a better default applies to PBXs that have none of their own."""
    default = NumberPlan()
    values = {name: getattr(number_plan, name) for name in NumberPlan.__struct_fields__}
    return encode_column({name: value for name, value in values.items() if value != getattr(default, name)})
