"""A telephone that SIPp cannot be: it has two calls at once. Heidi answers, asks Frank, and hands the caller over.

The hand-over is an attended transfer as telephones do it (RFC 5589): a REFER whose `Replaces` names the second call.
SIP by hand, just enough of it: one caller at a time, nothing lost on the loopback, no voice.
"""

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Mapping

ANSWER_SECONDS = 1.0
ASK_SECONDS = 2.0
"""How long Heidi talks with the caller, and then with Frank."""

NUMBER, OTHER = "1008", "1006"
_SDP = "v=0\r\no=phone 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n"


class Referring:
    """It listens from when it is made until it is closed."""

    def __init__(self, port: int, pbx_port: int) -> None:
        self._pbx = ("127.0.0.1", pbx_port)
        self._own = f"127.0.0.1:{port}"
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", port))
        self._caller: Mapping[str, str] = {}
        self._asked: Mapping[str, str] = {}
        self._calls = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    # The names of a process, so that a laboratory stops it as it stops all its telephones.
    kill = close

    def wait(self) -> None:
        """It is gone at once."""

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._socket.recv(65_536):
                self._heard(data.decode())

    def _heard(self, text: str) -> None:
        first, headers = text.partition("\r\n")[0], _headers(text)
        method = first.partition(" ")[0]
        if method == "INVITE":
            self._caller = headers
            self._answer(headers, "180 Ringing")
            _later(ANSWER_SECONDS, lambda: self._answer(headers, "200 OK", _SDP))
            _later(ANSWER_SECONDS + ASK_SECONDS, self._ask)
        elif method in ("BYE", "NOTIFY", "OPTIONS", "CANCEL"):
            self._answer(headers, "200 OK")
        elif first.startswith("SIP/2.0 200") and headers["cseq"].endswith("INVITE") and not self._asked:
            self._asked = headers
            self._send("ACK", headers, to=headers["to"], sender=headers["from"], number=1)
            _later(ASK_SECONDS, self._refer)

    def _answer(self, headers: Mapping[str, str], status: str, body: str = "") -> None:
        to = headers["to"] if "tag=" in headers["to"] else f"{headers['to']};tag=heidi{self._calls}"
        lines = [f"SIP/2.0 {status}", f"Via: {headers['via']}", f"From: {headers['from']}", f"To: {to}"]
        lines += [f"Call-ID: {headers['call-id']}", f"CSeq: {headers['cseq']}", f"Contact: <sip:{NUMBER}@{self._own}>"]
        self._put(lines, body)

    def _ask(self) -> None:
        """The second call, to Frank."""
        self._asked = {}
        self._calls += 1
        asking = {"call-id": f"heidi-asks-{self._calls}@{self._own}"}
        sender = f'"Heidi" <sip:{NUMBER}@{self._own}>;tag=asks{self._calls}'
        self._send("INVITE", asking, to=f"<sip:{OTHER}@127.0.0.1>", sender=sender, number=1, body=_SDP)

    def _refer(self) -> None:
        """Hand the first call over to the second."""
        tags = [re.findall(r"tag=([^;>]+)", self._asked[side])[0] for side in ("to", "from")]
        replaces = f"{self._asked['call-id'].replace('@', '%40')}%3Bto-tag%3D{tags[0]}%3Bfrom-tag%3D{tags[1]}"
        own = f"{self._caller['to']};tag=heidi{self._calls - 1}"
        more = [f"Refer-To: <sip:{OTHER}@127.0.0.1?Replaces={replaces}>", f"Referred-By: <sip:{NUMBER}@{self._own}>"]
        self._send("REFER", self._caller, to=self._caller["from"], sender=own, number=2, more=more)

    def _send(
        self,
        method: str,
        dialog: Mapping[str, str],
        *,
        to: str,
        sender: str,
        number: int,
        more: list[str] | None = None,
        body: str = "",
    ) -> None:
        target = f"sip:{OTHER}@{self._pbx[0]}:{self._pbx[1]}"
        branch = f"z9hG4bK{method}{self._calls}"
        lines = [f"{method} {target} SIP/2.0", f"Via: SIP/2.0/UDP {self._own};branch={branch}", "Max-Forwards: 70"]
        lines += [f"From: {sender}", f"To: {to}", f"Call-ID: {dialog['call-id']}", f"CSeq: {number} {method}"]
        self._put([*lines, f"Contact: <sip:{NUMBER}@{self._own}>", *(more or [])], body)

    def _put(self, lines: list[str], body: str) -> None:
        kind = ["Content-Type: application/sdp"] if body else []
        text = "\r\n".join([*lines, *kind, f"Content-Length: {len(body)}", "", body])
        with contextlib.suppress(OSError):
            self._socket.sendto(text.encode(), self._pbx)


def _headers(text: str) -> Mapping[str, str]:
    lines = text.partition("\r\n\r\n")[0].split("\r\n")[1:]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _later(seconds: float, act: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()
