"""A telephone with two concurrent calls, which SIPp does not support. Heidi answers, consults Frank, and transfers the
caller.

The transfer is an attended transfer as telephones do it (RFC 5589): a REFER whose `Replaces` names the second call. The
SIP is minimal: one caller at a time, no loss on the loopback, no audio.
"""

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Mapping

ANSWER_SECONDS = 1.0
CONSULT_SECONDS = 2.0
"""Time that Heidi talks with the caller, and then with Frank."""

NUMBER, TARGET_NUMBER = "1008", "1006"
_SDP = "v=0\r\no=phone 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n"


class TransferringPhone:
    """A telephone that listens from its creation until `close`."""

    def __init__(self, port: int, pbx_port: int) -> None:
        self._pbx_address = ("127.0.0.1", pbx_port)
        self._own_address = f"127.0.0.1:{port}"
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", port))
        self._caller_headers: Mapping[str, str] = {}
        self._consultation_headers: Mapping[str, str] = {}
        self._call_count = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    # Method names of a process, so that the laboratory can stop it like the other telephones.
    kill = close

    def wait(self) -> None:
        """Return at once."""

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._socket.recv(65_536):
                self._handle_message(data.decode())

    def _handle_message(self, text: str) -> None:
        first_line, headers = text.partition("\r\n")[0], _headers(text)
        method = first_line.partition(" ")[0]
        if method == "INVITE":
            self._caller_headers = headers
            self._answer(headers, "180 Ringing")
            _run_after(ANSWER_SECONDS, lambda: self._answer(headers, "200 OK", _SDP))
            _run_after(ANSWER_SECONDS + CONSULT_SECONDS, self._start_consultation)
        elif method in ("BYE", "NOTIFY", "OPTIONS", "CANCEL"):
            self._answer(headers, "200 OK")
        elif (
            first_line.startswith("SIP/2.0 200")
            and headers["cseq"].endswith("INVITE")
            and not self._consultation_headers
        ):
            self._consultation_headers = headers
            self._send("ACK", headers, to_header=headers["to"], from_header=headers["from"], cseq=1)
            _run_after(CONSULT_SECONDS, self._refer)

    def _answer(self, headers: Mapping[str, str], status: str, body: str = "") -> None:
        to_header = headers["to"] if "tag=" in headers["to"] else f"{headers['to']};tag=heidi{self._call_count}"
        lines = [f"SIP/2.0 {status}", f"Via: {headers['via']}", f"From: {headers['from']}", f"To: {to_header}"]
        lines += [
            f"Call-ID: {headers['call-id']}",
            f"CSeq: {headers['cseq']}",
            f"Contact: <sip:{NUMBER}@{self._own_address}>",
        ]
        self._write_message(lines, body)

    def _start_consultation(self) -> None:
        """Call Frank."""
        self._consultation_headers = {}
        self._call_count += 1
        dialog = {"call-id": f"heidi-asks-{self._call_count}@{self._own_address}"}
        from_header = f'"Heidi" <sip:{NUMBER}@{self._own_address}>;tag=asks{self._call_count}'
        self._send(
            "INVITE", dialog, to_header=f"<sip:{TARGET_NUMBER}@127.0.0.1>", from_header=from_header, cseq=1, body=_SDP
        )

    def _refer(self) -> None:
        """Transfer the first call to the second."""
        tags = [re.findall(r"tag=([^;>]+)", self._consultation_headers[side])[0] for side in ("to", "from")]
        replaces = (
            f"{self._consultation_headers['call-id'].replace('@', '%40')}%3Bto-tag%3D{tags[0]}%3Bfrom-tag%3D{tags[1]}"
        )
        to_own_header = f"{self._caller_headers['to']};tag=heidi{self._call_count - 1}"
        extra_headers = [
            f"Refer-To: <sip:{TARGET_NUMBER}@127.0.0.1?Replaces={replaces}>",
            f"Referred-By: <sip:{NUMBER}@{self._own_address}>",
        ]
        self._send(
            "REFER",
            self._caller_headers,
            to_header=self._caller_headers["from"],
            from_header=to_own_header,
            cseq=2,
            extra_headers=extra_headers,
        )

    def _send(
        self,
        method: str,
        dialog: Mapping[str, str],
        *,
        to_header: str,
        from_header: str,
        cseq: int,
        extra_headers: list[str] | None = None,
        body: str = "",
    ) -> None:
        target = f"sip:{TARGET_NUMBER}@{self._pbx_address[0]}:{self._pbx_address[1]}"
        branch = f"z9hG4bK{method}{self._call_count}"
        lines = [
            f"{method} {target} SIP/2.0",
            f"Via: SIP/2.0/UDP {self._own_address};branch={branch}",
            "Max-Forwards: 70",
        ]
        lines += [f"From: {from_header}", f"To: {to_header}", f"Call-ID: {dialog['call-id']}", f"CSeq: {cseq} {method}"]
        self._write_message([*lines, f"Contact: <sip:{NUMBER}@{self._own_address}>", *(extra_headers or [])], body)

    def _write_message(self, lines: list[str], body: str) -> None:
        content_headers = ["Content-Type: application/sdp"] if body else []
        text = "\r\n".join([*lines, *content_headers, f"Content-Length: {len(body)}", "", body])
        with contextlib.suppress(OSError):
            self._socket.sendto(text.encode(), self._pbx_address)


def _headers(text: str) -> Mapping[str, str]:
    lines = text.partition("\r\n\r\n")[0].split("\r\n")[1:]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _run_after(seconds: float, callback: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, callback)
    timer.daemon = True
    timer.start()
