"""Files made to hurt a parser, and the code that each is refused with."""

from __future__ import annotations

from collections.abc import Mapping

CAP = b"schema = 1\nmandatory.mining.max_efficiency_percent = "

HOSTILE: Mapping[str, tuple[bytes, str]] = {
    "oversize": (b"#" * (64 * 1024 + 1), "GP003"),
    "40 KB of dotted keys": (b"a." * 20_000 + b"a = 1", "GP004"),
    "2000 lines of dotted keys": (b"a.b.c.d.e.f.g.h = 1\n" * 2000, "GP007"),
    "arrays nested 5000 deep": (b"a = " + b"[" * 5000 + b"]" * 5000, "GP004"),
    "tables nested 5000 deep": (b"a = " + b"{a=" * 5000 + b"1" + b"}" * 5000, "GP004"),
    "nan": (CAP + b"nan", "GP013"),
    "infinity": (CAP + b"inf", "GP013"),
    "minus infinity": (CAP + b"-inf", "GP013"),
    "duplicate key": (CAP + b"50\nmandatory.mining.max_efficiency_percent = 100", "GP007"),
    "duplicate table": (b"schema = 1\n[mandatory]\n[mandatory]\n", "GP007"),
    "two byte order marks": (b"\xef\xbb\xbf" * 2 + CAP + b"50", "GP001"),
    "UTF-16": ((CAP + b"50").decode().encode("utf-16"), "GP002"),
    "UTF-16 without a mark": ((CAP + b"50").decode().encode("utf-16-le"), "GP002"),
    "no text": (CAP + b"50 # \xff", "GP002"),
    "an integer of 200 000 bits": (CAP + b"9" * 60_000, "GP006"),
    "a hexadecimal integer": (CAP + b"0x" + b"f" * 60_000, "GP006"),
    "unknown schema": (b"schema = 2", "GP010"),
    "no schema": (b"", "GP010"),
    "20 000 finals": (b"schema = 1\nfinal = [" + b'"",' * 20_000 + b"]", "GP005"),
    "900 scopes": (b"schema = 1\n" + b"[[scope]]\n" * 900, "GP006"),
}
