"""`/api/v1/pbxs`: PBXs and their secrets; a secret is returned once, when it is added."""

from typing import Annotated, Literal

import msgspec
from litestar import delete, get, patch, post, put
from litestar.params import BodyKwarg

from onhook.appdb.pbx_conventions import (
    ENCODING_CHARACTERS_MAX,
    PbxConventions,
    RingTimeWord,
    parse_conventions,
)
from onhook.appdb.pbxs import Pbx, Secret, new_secret, validate_sn
from onhook.cdr.number_plan import parse_number_plan
from onhook.console.api.new_pbx import NewPbx, SerialNumberText, add_new_pbx
from onhook.console.parameters import Label, PbxNameOrSn, SecretId, SecretText
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AppStateDep


class PbxChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Settings to change; those that are left out stay. `number_plan` has ranges, and replaces all of them."""

    name: Label | msgspec.UnsetType = msgspec.UNSET
    zone: str | msgspec.UnsetType | None = msgspec.UNSET
    number_plan: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    keeps_unregistered: bool | msgspec.UnsetType = msgspec.UNSET


class PbxConventionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a PBX does its own way: the encoding of its texts, such as `gbk`, and what `agent_ring_time` is: `ring`, of
    the telephone, `wait`, of the caller, or `auto`, detected from its calls.
    """

    encoding: Annotated[str, msgspec.Meta(min_length=1, max_length=ENCODING_CHARACTERS_MAX)] = "utf-8"
    ring_time: RingTimeWord = "auto"


class NewSerialNumber(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A further serial number of a PBX."""

    sn: SerialNumberText


class AddedPbx(msgspec.Struct, frozen=True):
    """The PBX, and its webhook secret, which is returned this once; null where it need not sign. `warnings` are about
    addresses that cannot be reached now.
    """

    pbx: Pbx
    secret: str | None
    warnings: list[str]


class NewSecret(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A secret to add. Without `secret` one is generated."""

    label: Label = "webhook"
    secret: SecretText | None = None


class AddedSecret(msgspec.Struct, frozen=True):
    """A secret with its text, which is returned this once."""

    secret_id: int
    label: str
    secret: str


class PbxCheck(msgspec.Struct, frozen=True):
    """`ERROR` breaks something, `WARNING` needs a person's judgement; `hint` says what to do."""

    status: Literal["OK", "WARNING", "ERROR"]
    detail: str
    hint: str


class PbxCheckList(msgspec.Struct, frozen=True):
    """The results, in the order of the checks."""

    data: list[PbxCheck]
    next: None = None


class PbxList(msgspec.Struct, frozen=True):
    """All PBXs, by name; `secrets` is their number."""

    data: list[Pbx]
    next: None = None


class SecretList(msgspec.Struct, frozen=True):
    """The secrets of a PBX, the oldest first, without their texts."""

    data: list[Secret]
    next: None = None


@get("/pbxs", summary="List PBXs", tags=["pbxs"], responses=PROBLEMS)
async def list_pbxs(app_state: AppStateDep) -> PbxList:
    """List PBXs, without their secrets."""
    return PbxList(await app_state.appdb.pbxs())


@get("/pbxs/{name:str}", summary="Read a PBX", tags=["pbxs"], responses=PROBLEMS)
async def read_pbx(app_state: AppStateDep, name: PbxNameOrSn) -> Pbx:
    """Read a PBX by its name or serial number."""
    return await app_state.appdb.pbx(name)


@post("/pbxs", summary="Add a PBX", tags=["pbxs"], responses=PROBLEMS)
async def add_pbx(app_state: AppStateDep, data: Annotated[NewPbx, BodyKwarg()]) -> AddedPbx:
    """Add a PBX of any kind, as the pages do: its events are accepted from now on, or it is connected to."""
    added, secret = await add_new_pbx(app_state, data)
    return AddedPbx(added.pbx, secret, list(added.warnings))


@patch("/pbxs/{name:str}", summary="Change a PBX", tags=["pbxs"], responses=PROBLEMS)
async def change_pbx(app_state: AppStateDep, name: PbxNameOrSn, data: Annotated[PbxChanges, BodyKwarg()]) -> Pbx:
    """Change settings of a PBX. They apply to calls from now on, and to earlier ones after `onhook rebuild`."""
    changes = msgspec.to_builtins(data)
    if "number_plan" in changes:
        changes["number_plan"] = parse_number_plan(changes["number_plan"])
    return await app_state.appdb.change_pbx(name, changes)


@get("/pbxs/{name:str}/conventions", summary="Read the conventions of a PBX", tags=["pbxs"], responses=PROBLEMS)
async def read_conventions(app_state: AppStateDep, name: PbxNameOrSn) -> PbxConventionSettings:
    """Read the encoding of its texts and the meaning of `agent_ring_time`."""
    return _describe_conventions(await app_state.appdb.pbx_conventions.get((await app_state.appdb.pbx(name)).sn))


@put("/pbxs/{name:str}/conventions", summary="Change the conventions of a PBX", tags=["pbxs"], responses=PROBLEMS)
async def put_conventions(
    app_state: AppStateDep, name: PbxNameOrSn, data: Annotated[PbxConventionSettings, BodyKwarg()]
) -> PbxConventionSettings:
    """Set both; what is left out has its default. Stored calls change with `onhook rebuild`."""
    conventions = parse_conventions(data.encoding, data.ring_time)
    await app_state.appdb.pbx_conventions.put((await app_state.appdb.pbx(name)).sn, conventions)
    return _describe_conventions(conventions)


def _describe_conventions(conventions: PbxConventions) -> PbxConventionSettings:
    return PbxConventionSettings(encoding=conventions.encoding_name, ring_time=conventions.ring_time_word)


@post("/pbxs/{name:str}/serial-numbers", summary="Add a serial number to a PBX", tags=["pbxs"], responses=PROBLEMS)
async def add_serial_number(
    app_state: AppStateDep, name: PbxNameOrSn, data: Annotated[NewSerialNumber, BodyKwarg()]
) -> Pbx:
    """Accept events of a further serial number as those of this PBX; calls that it had before are joined."""
    await app_state.appdb.serial_numbers.add((await app_state.appdb.pbx(name)).sn, validate_sn(data.sn))
    return await app_state.appdb.pbx(name)


@delete(
    "/pbxs/{name:str}/serial-numbers/{sn:str}",
    summary="Remove a serial number from a PBX",
    tags=["pbxs"],
    responses=PROBLEMS,
)
async def remove_serial_number(app_state: AppStateDep, name: PbxNameOrSn, sn: PbxNameOrSn) -> None:
    """Accept no events of a further serial number; earlier calls stay the PBX's."""
    pbx = await app_state.appdb.pbx(name)
    await app_state.appdb.serial_numbers.remove(pbx.sn, sn, now_us=app_state.clock.microseconds())


@delete("/pbxs/{name:str}", summary="Remove a PBX", tags=["pbxs"], responses=PROBLEMS)
async def remove_pbx(app_state: AppStateDep, name: PbxNameOrSn) -> None:
    """Remove a PBX. Its calls stay; its events are rejected from now on."""
    await app_state.appdb.remove_pbx(name)


@post("/pbxs/{name:str}/checks", summary="Run the checks of a PBX", tags=["pbxs"], responses=PROBLEMS)
async def run_pbx_checks(app_state: AppStateDep, name: PbxNameOrSn) -> PbxCheckList:
    """Run the checks of `onhook doctor` for this PBX; it may take a minute."""
    checks = await app_state.actions.run_pbx_checks((await app_state.appdb.pbx(name)).sn)
    return PbxCheckList([PbxCheck(check.status, check.detail, check.hint) for check in checks])


@get("/pbxs/{name:str}/secrets", summary="List the secrets of a PBX", tags=["pbxs"], responses=PROBLEMS)
async def list_secrets(app_state: AppStateDep, name: PbxNameOrSn) -> SecretList:
    """List the secrets of a PBX, the oldest first, without their texts."""
    return SecretList(await app_state.appdb.secrets(name))


@post("/pbxs/{name:str}/secrets", summary="Add a secret to a PBX", tags=["pbxs"], responses=PROBLEMS)
async def add_secret(app_state: AppStateDep, name: PbxNameOrSn, data: Annotated[NewSecret, BodyKwarg()]) -> AddedSecret:
    """Add a secret beside the others: so a secret is changed without losing an event."""
    text = data.secret or new_secret()
    stored_secret = await app_state.appdb.add_secret(
        name, text, now_us=app_state.clock.microseconds(), label=data.label
    )
    return AddedSecret(stored_secret.secret_id, stored_secret.label, text)


@delete(
    "/pbxs/{name:str}/secrets/{secret_id:int}", summary="Remove a secret from a PBX", tags=["pbxs"], responses=PROBLEMS
)
async def remove_secret(app_state: AppStateDep, name: PbxNameOrSn, secret_id: SecretId) -> None:
    """Remove a secret; the last one of a PBX that must sign cannot be removed."""
    await app_state.appdb.remove_secret(name, secret_id)
