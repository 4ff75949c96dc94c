"""Calls of an Odoo's own methods, by JSON-RPC or, from Odoo 19 on, JSON-2 over HTTP.

Sources: "External RPC API" and "External JSON-2 API" of Odoo's developer documentation.
"""

from typing import Any, TypeVar

import msgspec
from yarl import URL

from onhook.delivery.destinations.contract import DETAIL_CHARACTERS_MAX, DeliveryResult
from onhook.delivery.destinations.http_transport import HttpTransport, OutgoingRequest
from onhook.delivery.destinations.service_fields import OdooFields
from onhook.lib.clock import SystemClock
from onhook.lib.messages import _

ANSWER_BYTES_MAX = 1_048_576
"""Of the contacts that may have a number."""

VALUE_ERRORS = ("ValidationError", "UserError", "ValueError", "MissingError")
"""Names of exceptions that say something about the values of one call."""


AnswerT = TypeVar("AnswerT")


class OdooRecord(msgspec.Struct, frozen=True):
    """A record as far as it is read; Odoo writes `false` for an empty text."""

    id: int
    phone: str | bool | None = False
    mobile: str | bool | None = False
    message_id: str | bool | None = False
    body: str | bool | None = False
    model: str | bool | None = False
    res_id: int | bool | None = False


class OdooRejected(Exception):
    """Odoo refuses the values of a call."""


class OdooApi:
    """One database of an Odoo. Methods raise `OdooRejected`, and `OSError` for everything else."""

    def __init__(self, url: str, fields: OdooFields, secret: str, transport: HttpTransport) -> None:
        self._url = URL(url.rstrip("/"))
        self._fields = fields
        self._secret = secret
        self._transport = transport
        self._clock = SystemClock()
        self._user_id: int | None = None

    async def call(self, model: str, method: str, ids: list[int] | None = None, **arguments: Any) -> Any:
        """Return what a method of a model returns."""
        if self._fields.interface == "json-2":
            body = {**({} if ids is None else {"ids": ids}), **arguments}
            return await self._post(f"json/2/{model}/{method}", body, self._json2_headers())
        if self._user_id is None:
            user_id = await self._call_rpc("common", "authenticate", [*self._login(), {}])
            if not isinstance(user_id, int) or isinstance(user_id, bool):
                raise OSError(_("wrong database, user or key"))
            self._user_id = user_id
        database, _login, secret = self._login()
        positional = [] if ids is None else [ids]
        return await self._call_rpc(
            "object", "execute_kw", [database, self._user_id, secret, model, method, positional, arguments]
        )

    async def search(
        self, model: str, domain: list[Any], *fields: str, limit: int = 1, **arguments: Any
    ) -> list[OdooRecord]:
        """Return the records of a model that match a domain, with their ids and these fields."""
        names = ["id", *fields]
        answer = await self.call(model, "search_read", domain=domain, fields=names, limit=limit, **arguments)
        return _convert(answer, list[OdooRecord])

    async def create(self, model: str, values: dict[str, Any]) -> int:
        """Create a record; return its id."""
        answer = await self.call(model, "create", vals_list=[values])
        (record_id,) = _convert(answer if isinstance(answer, list) else [answer], tuple[int])
        return record_id

    async def fields(self, model: str, names: list[str]) -> list[str]:
        """Return which of these fields a model has."""
        described = await self.call(model, "fields_get", allfields=names, attributes=["type"])
        return [name for name in names if name in _convert(described, dict[str, Any])]

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    def _login(self) -> tuple[str, str, str]:
        return self._fields.database, self._fields.login, self._secret

    def _json2_headers(self) -> dict[str, str]:
        headers = {"Authorization": f"bearer {self._secret}"}
        return headers | ({"X-Odoo-Database": self._fields.database} if self._fields.database else {})

    async def _call_rpc(self, service: str, method: str, arguments: list[Any]) -> Any:
        params = {"service": service, "method": method, "args": arguments}
        answer = await self._post("jsonrpc", {"jsonrpc": "2.0", "method": "call", "params": params, "id": 1}, {})
        if not isinstance(answer, dict):
            raise OSError(_("the answer is not JSON-RPC"))
        if answer.get("error"):
            _raise_error(answer["error"])
        return answer.get("result")

    async def _post(self, path: str, body: Any, headers: dict[str, str]) -> Any:
        request = OutgoingRequest(method="POST", url=self._url / path, headers=headers, body=msgspec.json.encode(body))
        result = await self._transport.request(request, self._clock.microseconds(), ANSWER_BYTES_MAX)
        answer = _decode(result)
        if result.outcome != "accepted":
            if isinstance(answer, dict) and "name" in answer:
                _raise_error({"message": answer.get("message", result.detail), "data": answer})
            raise OSError(result.detail)
        return answer


def _decode(result: DeliveryResult) -> Any:
    try:
        return msgspec.json.decode(result.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if result.outcome == "accepted":
            raise OSError(_("the answer is not JSON: is this an Odoo?")) from None
        return None


def _convert(answer: Any, answer_type: type[AnswerT]) -> AnswerT:
    try:
        return msgspec.convert(answer, answer_type)
    except msgspec.ValidationError as error:
        raise OSError(_("the answer is not Odoo's: {error}", error=error)) from error


def _raise_error(error: Any) -> None:
    """Raise the error of an answer."""
    members = error if isinstance(error, dict) else {"message": error}
    data = members["data"] if isinstance(members.get("data"), dict) else {}
    name, message = str(data.get("name", "")), str(data.get("message") or members.get("message", ""))
    text = " ".join(f"{name.rpartition('.')[2]}: {message}".split())[:DETAIL_CHARACTERS_MAX]
    raise OdooRejected(text) if name.endswith(VALUE_ERRORS) else OSError(text)
