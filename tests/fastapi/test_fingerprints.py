"""What a request asks for, in one hash: the same request has the same, another one has another."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from querywright.fastapi.idempotency.route import _fingerprint


async def test_the_end_of_a_query_is_not_the_beginning_of_a_body() -> None:
    async def fingerprint(query: bytes, body: bytes) -> str:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        scope = {"type": "http", "method": "POST", "path": "/pay", "query_string": query, "headers": []}
        return await _fingerprint(Request(scope, receive))

    assert await fingerprint(b"amount=5", b"0") != await fingerprint(b"amount=50", b"")


FORM = b'--{0}\r\ncontent-disposition: form-data; name="f"\r\n\r\n%s\r\n--{0}--\r\n'


async def test_a_form_is_the_same_whatever_stands_between_its_parts() -> None:
    """A client invents the boundary for each request, also for the same one again."""

    async def of(boundary: str, content: bytes) -> str:
        body = FORM.replace(b"{0}", boundary.encode()) % content

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        kind = f'multipart/form-data; boundary="{boundary}"'.encode()
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/",
            "query_string": b"",
            "headers": [(b"content-type", kind)],
        }
        return await _fingerprint(Request(scope, receive))

    assert await of("one", b"5") == await of("another", b"5")
    assert await of("one", b"5") != await of("one", b"6")
    # What looks like one within a part is its content.
    assert await of("1", b"1") != await of("2", b"2")
    assert await of("1", b"a --1") != await of("2", b"a --2")
