"""What somebody sends who means no good, or whose program is wrong: each input is one request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["INPUTS", "MISSING", "Input"]

JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Input:
    """A request.

    Attributes:
        path: Path and query, percent-encoded.
        body: The bytes of its body; a POST if there are any.
        headers: Its headers.
        method: Its method, if it is not a GET or a POST.
    """

    path: str
    body: bytes | None = None
    headers: Mapping[str, str | bytes] = field(default_factory=dict)
    method: str = ""

    def __str__(self) -> str:
        told = f"{self.method or ('GET' if self.body is None else 'POST')} {self.path} {(self.body or b'')!r}"
        return f"{told} {self.headers or ''}"[:200]


DEEP = 400
DEEPER = 20_000
LONG = "9" * 40
_MOMENTS = [
    '"2024-02-03T04:05:06"',
    '"2024-02-03T04:05:06Z"',
    '"2024-02-03T04:05:06.999999999Z"',
    '"0001-01-01T00:00:00+14:00"',
    '"9999-12-31T23:59:59.999999-12:00"',
    '"9999-12-31T23:59:59.999999Z"',
    '"0001-01-01T00:00:00Z"',
    '"2024-02-03T04:05:06+00:00:30"',
    '"2024-02-30T00:00:00Z"',
    "1e300",
    "NaN",
    "-62135596800",
]
_TEXTS = [
    r'"a\u0000b"',
    r'"\ud800"',
    r'"\udfff\ud800"',
    r'"\udcc3\udca9"',
    r'"\ufffe\uffff"',
    '"' + "x" * 100_000 + '"',
]
_NUMBERS = [
    "NaN",
    "Infinity",
    "1e400",
    '"NaN"',
    '"sNaN"',
    '"-Infinity"',
    f'"{LONG}.{LONG}"',
    '"1e999999"',
    '"1e-999999"',
    '"-0"',
]
_INTEGERS = [
    str(2**15),
    str(2**31),
    str(-(2**31) - 1),
    str(2**63),
    str(-(2**63) - 1),
    "1e30",
    "9" * 4000,
    "9" * 5000,
    "NaN",
]
_DOCUMENTS = [
    "NaN",
    '{"a": [Infinity, -Infinity]}',
    r'"a\u0000b"',
    r'{"a\u0000b": 1}',
    r'{"a": "\ud800"}',
    r'{"\udfff": 1}',
    "9" * 400,
    "1e400",
    "-1e-400",
    "[" * DEEP + "]" * DEEP,
    '{"a":' * 40 + "1" + "}" * 40,
    "[" * DEEPER + "]" * DEEPER,
]

# By column, as JSON.
BODIES: dict[str, list[str]] = {
    "small": _INTEGERS,
    "whole": _INTEGERS,
    "big": _INTEGERS,
    "double": [*_NUMBERS, str(10**400)],
    "price": [*_NUMBERS, "0.001", "99999999999.99"],
    "amount": [*_NUMBERS, "0.00001", "99999999999.99"],
    "name": _TEXTS,
    "text": _TEXTS,
    "code": _TEXTS,
    "note": _TEXTS,
    "kind": ['"three"', '"ONE\\u0000"', r'"\ud800"', '""'],
    "uid": ['"not one"', r'"\u0000"', '"' + "f" * 33 + '"'],
    "blob": ['"AA=="', '"not base64"', r'"\ud800"', '"' + "A" * 100_000 + '"'],
    "flag": ["2", '"maybe"', "NaN"],
    "day": ['"0001-01-01"', '"9999-12-31"', '"10000-01-01"', '"2024-02-30"', "1e20", "NaN"],
    "clock": ['"24:00:00"', '"23:59:60"', '"23:59:59.9999999"', '"12:00:00+14:00"', '"12:00:00Z"', "86400", "NaN"],
    "local": _MOMENTS,
    "zoned": _MOMENTS,
    "moment": _MOMENTS,
    "span": ['"P999999999D"', '"-P999999999D"', '"P1Y"', "1e300", "NaN", '"PT0.0000001S"', '"P9000Y"'],
    "data": _DOCUMENTS,
    "document": _DOCUMENTS,
}

# What is compared, percent-encoded.
LOOKED_UP: dict[str, list[str]] = {
    "small": [str(2**15), str(10**20)],
    "whole": [str(2**31), str(2**63), "9" * 4000, "%00", "nan"],
    "big": [str(2**63), str(-(10**30))],
    "double": ["nan", "inf", "-inf", "1e999"],
    "price": ["nan", "snan", "0.001", LONG, "1e999999", "1e-999999"],
    "amount": ["nan", "inf", LONG, "1e999999", "1e-999999"],
    "name": ["%00", "a%00b", "%ED%A0%80", "%FF%FE", "%F0%9F%92%A9", "'%20--", "%25", "x" * 5000],
    "text": ["%00", "%ED%A0%80"],
    "code": ["%00"],
    "kind": ["three", "%00"],
    "uid": ["x", "%00"],
    "flag": ["2", "%00"],
    "blob": ["%00%FF", "%ED%A0%80"],
    "day": ["0001-01-01", "9999-12-31", "10000-01-01", "0000-00-00"],
    "clock": ["24:00:00", "12:00:00%2B14:00"],
    "local": ["2024-02-03T04:05:06Z", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00"],
    "zoned": ["2024-02-03T04:05:06", "0001-01-01T00:00:00%2B14:00"],
    "moment": ["2024-02-03T04:05:06", "0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00"],
    "span": ["P999999999D", "-P999999999D", "nan"],
}


def _bodies() -> Iterator[Input]:
    for column, values in BODIES.items():
        for place, value in enumerate(values):
            body = f'{{"{column}": {value}}}'
            # In turn, as one row by the ORM or as several by one statement.
            if place % 3 == 1:
                yield Input("/bulk", f"[{body}, {body}]".encode(), JSON)
            else:
                yield Input("/rows", body.encode(), JSON)


def _lookups() -> Iterator[Input]:
    for column, values in LOOKED_UP.items():
        for value in values:
            yield Input(f"/path/{column}/{value}")
            yield Input(f"/query/{column}?value={value}")


_HEADERS = [
    Input("/header/name", headers={"value": b"\xff\xfe\x80"}),
    Input("/header/name", headers={"value": b"a\x00b"}),
    Input("/header/whole", headers={"value": str(2**63)}),
    Input("/header/double", headers={"value": "nan"}),
    Input("/header/price", headers={"value": "snan"}),
    Input("/header/moment", headers={"value": "2024-02-03T04:05:06"}),
    Input("/header/kind", headers={"value": b"\xed\xa0\x80"}),
    *(
        Input("/rows/1", b'{"whole": 1}', {**JSON, "if-match": value}, "PATCH")
        for value in (b'"\xff\x00"', b'"' + b"9" * 5000 + b'"', b"\xed\xa0\x80", b"*,", b'"1", 1', b"")
    ),
    Input("/rows/1", b'{"whole": 9999999999}', {**JSON, "if-match": "*"}, "PATCH"),
    Input("/rows/1", b'{"moment": "2024-01-01T00:00:00"}', {**JSON, "if-match": "*"}, "PATCH"),
    *(
        Input("/rows", b'{"whole": 1}', {**JSON, "idempotency-key": value})
        for value in (b"\xff\xfe\x80", b"a\x00b", b"\xed\xa0\x80", b"x" * 5000, b"", b"'; --")
    ),
    Input("/rows", b'{"whole": 1}', {**JSON, "host": "[", "idempotency-key": "of a strange host"}),
]

_LISTS = [
    *(
        Input(f"/pages?{query}")
        for query in (
            "after=%00", "after=%ED%A0%80", "after=AAAA", "before=" + "A" * 5000, "after=%F0%9F%92%A9", "size=0",
            f"size={10**30}", "number=0", f"number={2**31}&size=1000", f"number={10**30}", "size=nan",
            "after=x&before=y",
        )
    ),
    *(
        Input(f"/sparse?fields={fields}")
        for fields in ("%00", "%ED%A0%80", "secret", "id," * 2000, "id%22;--", "", "id&fields=secret")
    ),
    *(
        Input(f"/{way}?limit={number}&offset={offset}")
        for way in ("limited", "limited_objects")
        for number, offset in ((-1, 0), (1, -1), (10**20, 0), (1, 10**20), (10**400, 10**400))
    ),
    *(
        Input(f"/documents/{key}")
        for key in ("'", "%22", "a%00b", "%00", "]", "[", "%5C", "*", "x" * 5000, "%ED%A0%80")
    ),
    *(Input(f"/matching?pattern={pattern}") for pattern in ("(", "[", "%5C", "a{9999999}", "%00", "")),
    *(Input("/several", str(ids).encode(), JSON) for ids in ([], [1, 2**63], list(range(70_000)))),
]  # fmt: skip

_REQUESTS = [
    Input("/rows", b"", JSON),
    Input("/rows", b"\xff\xfe\x00", JSON),
    Input("/rows", b'"\xed\xa0\x80"', JSON),
    Input("/rows", b"{", JSON),
    Input("/rows", b"[" * DEEPER, JSON),
    Input("/rows", b'{"whole": "' + b"[" * 10 + b'"}', JSON),
    Input("/rows", ('{"whole": ' + "[" * DEEP + "]" * DEEP + "}").encode(), JSON),
    Input("/rows", rb'{"whole": {"\ud800": NaN}}', JSON),
    Input("/rows", b"\xff\xfe\x80", {"content-type": "text/plain"}),
    Input("/rows", b"\xff\xfe\x80", {"content-type": b"application/json; charset=\xff"}),
    Input("/rows", b"--x\r\n\x00", {"content-type": "multipart/form-data; boundary=x"}),
    Input("/bulk", rb'[{"name": "\ud800"}, {"double": NaN}, {"day": NaN}]', JSON),
    Input("/bulk", b"[" + b'{"whole": 1},' * 1_999 + b'{"whole": 99999999999}]', JSON),
    Input("/fetch/%00"),
    Input("/nowhere/%00%ED%A0%80"),
    Input("/rows/1", b"{}", JSON, "BREW"),
]

# A row that is not there, or a key that none can have.
MISSING = [f"/{way}/{key}" for way in ("get_one", "scalar", "repository", "fetch") for key in (99, 0, -1)]
INPUTS: list[Input] = [
    *_bodies(), *_lookups(), *_HEADERS, *_LISTS, *_REQUESTS,
    *(Input(f"/{way}/{10**20}") for way in ("get_one", "scalar", "repository", "fetch")),
]  # fmt: skip
