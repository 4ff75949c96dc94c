"""`onhook mcp`: the protocol, the tools, and an assistant's session with a real server."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from onhook.cli.mcp import ApiConnection
from onhook.cli.mcp_session import PROTOCOL_VERSIONS, McpSession
from onhook.cli.mcp_tools import TOOLS, TOOLS_BY_NAME
from onhook.lib.errors import NotAllowed, UsageError
from onhook.lib.versions import installed_version
from tests.cli.conftest import Command
from tests.runtime.harness import Server, call_id, wait_until, webhook_body
from tools.contracts import openapi_document


class RecordingApi:
    """Answers every request with an empty list, or an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.targets: list[str] = []
        self._error = error

    def read(self, target: str) -> bytes:
        self.targets.append(target)
        if self._error is not None:
            raise self._error
        return b'{"data":[]}'


def _ask(session: McpSession, method: str, message_id: int | None = 1, **parameters: Any) -> Any:
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": parameters}
    if message_id is not None:
        message["id"] = message_id
    answer = session.handle_line(json.dumps(message).encode())
    return None if answer is None else json.loads(answer)


def _call(session: McpSession, name: str, arguments: Mapping[str, Any]) -> Any:
    return _ask(session, "tools/call", name=name, arguments=arguments)["result"]


@pytest.mark.parametrize(
    ("requested", "agreed"),
    [(PROTOCOL_VERSIONS[-1],) * 2, ("1999-01-01", PROTOCOL_VERSIONS[0]), (5, PROTOCOL_VERSIONS[0])],
)
def test_mcp_initialization_agrees_on_a_version(requested: object, agreed: str) -> None:
    session = McpSession(RecordingApi())
    result = _ask(session, "initialize", protocolVersion=requested, capabilities={})["result"]
    assert result["protocolVersion"] == agreed
    assert result["serverInfo"]["version"] == installed_version("onhook")
    assert result["capabilities"] == {"tools": {"listChanged": False}}
    assert _ask(session, "notifications/initialized", None) is None
    assert _ask(session, "ping") == {"jsonrpc": "2.0", "id": 1, "result": {}}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"no json", -32700),
        (b"[]", -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"resources/list"}', -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_calls"}}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"report","arguments":[1]}}', -32602),
    ],
)
def test_mcp_message_that_is_no_request_is_an_error(line: bytes, code: int) -> None:
    api = RecordingApi()
    assert json.loads(McpSession(api).handle_line(line) or b"")["error"]["code"] == code
    assert api.targets == []


def test_mcp_tools_are_read_only_and_name_routes_and_parameters_of_the_api() -> None:
    paths = openapi_document()["paths"]
    tools = {tool["name"]: tool for tool in _ask(McpSession(RecordingApi()), "tools/list")["result"]["tools"]}
    assert tools.keys() == TOOLS_BY_NAME.keys()
    for tool in TOOLS:
        operation = paths[tool.path]["get"]
        parameters = {parameter["name"]: parameter for parameter in operation.get("parameters", ())}
        assert {parameter.name for parameter in tool.parameters} <= parameters.keys(), tool.name
        required = {name for name, parameter in parameters.items() if parameter.get("required")}
        assert required <= {parameter.name for parameter in tool.parameters if parameter.is_required}
        assert tools[tool.name]["annotations"]["readOnlyHint"] is True


def test_mcp_tool_arguments_become_the_query() -> None:
    api = RecordingApi()
    session = McpSession(api)
    result = _call(session, "search_calls", {"status": "!answered", "number": "+49 30", "limit": 5})
    assert result == {"content": [{"type": "text", "text": '{"data":[]}'}], "isError": False}
    _call(session, "read_call", {"sn": "a/../b", "call_id": "1777.1?x=y"})
    assert api.targets == [
        "/api/v1/calls?number=%2B49+30&status=%21answered&limit=5",
        "/api/v1/calls/a%2F..%2Fb/1777.1%3Fx%3Dy",
    ]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("read_call", {"sn": "1"}, "the argument call_id is missing"),
        ("search_calls", {"limit": "5"}, "the argument limit is missing or not of type integer"),
        ("search_calls", {"limit": 1_000}, "not a number from 1 to 100"),
        ("search_calls", {"number": 5}, "the argument number is missing or not of type string"),
        ("search_calls", {"token": "5"}, "there is no argument 'token'"),
        ("list_pbxs", {"name": "x"}, "there is no argument 'name'"),
        ("query_sql", {"sql": "x" * 4_001}, "the argument sql is too long"),
    ],
)
def test_mcp_argument_that_cannot_be_used_is_said_to_the_assistant(
    name: str, arguments: Mapping[str, Any], message: str
) -> None:
    api = RecordingApi()
    result = _call(McpSession(api), name, arguments)
    assert result["isError"] is True
    assert message in result["content"][0]["text"]
    assert api.targets == []


def test_mcp_refusal_of_the_server_is_said_to_the_assistant() -> None:
    result = _call(McpSession(RecordingApi(NotAllowed("this token is limited"))), "list_pbxs", {})
    assert result["isError"] is True
    assert "this token is limited" in result["content"][0]["text"]


@pytest.mark.parametrize(
    "url",
    [
        "calls.example.com",
        "ftp://calls.example.com",
        "https://user@calls.example.com",
        "https://",
        "https://[",
        "https://calls.example.com:99999",
        "https://calls.example.com/onhook",
    ],
)
def test_mcp_address_that_is_none_of_a_console_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="not the address of a console"):
        ApiConnection(url, "token")


@pytest.mark.parametrize("content", ["", "two words"])
def test_mcp_without_a_token_or_a_server_is_refused(content: str, onhook: Command) -> None:
    assert onhook("mcp", "--token-file", "missing")[2].startswith("onhook: the token cannot be read")
    token_file = Path("token")
    token_file.write_text(content)
    assert "there is no token in the file" in onhook("mcp", "--token-file", "token", "--url", "http://127.0.0.1:1")[2]
    token_file.write_text("secret-token\n")
    exit_code, _output, error = onhook("mcp", "--token-file", "token", "--url", "http://127.0.0.1:1")
    assert exit_code == 1
    assert "the server does not answer" in error
    assert "secret-token" not in error
    assert "no server runs on this data directory" in onhook("mcp", "--token-file", "token")[2]


@pytest.mark.slow
def test_mcp_session_has_the_scope_of_its_token(server: Server) -> None:
    """A token of an extension finds its calls, may not list PBXs, and finds nothing once it is revoked."""
    server.start()
    for number in (1, 2):
        assert server.post(webhook_body(number)) == 200
    wait_until(lambda: len(server.calls()) == 2)
    output = server.run_command("token", "add", "assistant", "--number", "1001")
    token_file = server.directory.parent / "token"
    token_file.write_text(max(output.split(), key=len))
    command = [str(server.program), "mcp", "--token-file", str(token_file), "--data", str(server.directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def ask(name: str, **arguments: Any) -> Any:
            parameters = {"name": name, "arguments": arguments}
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": parameters}
            stdin.write(json.dumps(message).encode() + b"\n")
            stdin.flush()
            return json.loads(stdout.readline())["result"]

        result = ask("search_calls", since="2026-04-27", status="answered")
        calls = json.loads(result["content"][0]["text"])["data"]
        assert sorted(call["call_id"] for call in calls) == [call_id(1), call_id(2)]
        refusal = ask("list_pbxs")
        assert refusal["isError"] is True
        server.run_command("token", "remove", "assistant")
        wait_until(lambda: ask("search_calls")["isError"] is True)
        stdin.close()
        assert process.wait(30) == 0
