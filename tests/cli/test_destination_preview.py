"""`onhook destination preview`, with a server and without one."""

import pytest

from tests.runtime.harness import Server, call_id, wait_until, webhook_body


@pytest.mark.slow
def test_destination_preview_is_the_same_without_a_server(server: Server) -> None:
    """Of the newest call and of a given one; the request has no secret."""
    server.start()
    assert server.post(webhook_body(1)) == 200
    assert server.post(webhook_body(2)) == 200
    wait_until(lambda: len(server.calls()) == 2)
    words = ("--kind", "http", "--url", "https://192.0.2.1/v1", "--allow-private", "--secret", "geheimgeheim")
    templates = ("--request-path", "/{{ secret }}", "--body", '{\n  "id": "{{ call.extra.id }}"\n}')
    transform = ("--transform", "set id = {{ call.call_id }}")
    server.run_command("destination", "add", "CRM", *words, *templates, *transform)
    text = server.run_command("destination", "preview", "CRM", "--call-id", call_id(1))
    assert text == f'POST https://192.0.2.1/v1/SECRET\nContent-Type: …\n\n{{\n  "id": "{call_id(1)}"\n}}\n'
    newest_text = server.run_command("destination", "preview", "CRM")
    assert "geheim" not in newest_text
    server.run_command("destination", "preview", "CRM", "--call-id", "none", exit_code=1)
    server.stop()
    assert server.run_command("destination", "preview", "CRM") == newest_text
    assert server.run_command("destination", "preview", "CRM", "--call-id", call_id(1)) == text
