"""Plans made in memory, for tests of what becomes of them."""

from __future__ import annotations

import random
import zlib
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from meteorpi_server.archiving import Entry, Form, Plan
from meteorpi_server.archiving.sending import send
from meteorpi_server.archiving.sources import TextSource

MTIME = 1_450_000_000
SOURCES = {"text": TextSource()}
SIZES = (0, 1, 100, 65_534, 65_535, 65_536, 131_070, 200_000)
MTIMES = (-(2**40), -(2**31) - 1, -(2**31), 0, 315_532_799, MTIME, 2**31 - 1, 2**31, 4_354_819_199, 2**40)


def text_entry(name: str, content: bytes = b"", form: Form = Form.STORED, **fields: Any) -> Entry:
    """An entry whose content the plan holds."""
    values: dict[str, Any] = {"crc": zlib.crc32(content), "size": len(content), "mtime": MTIME}
    if form is Form.DEFLATED:
        encoder = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
        content = encoder.compress(content) + encoder.flush()
        values["stored_size"] = len(content)
    return Entry(**{"name": name, "kind": "text", "body": content, "form": form} | values | fields)


def directory_entry(name: str, mtime: int = MTIME) -> Entry:
    return Entry(name=f"{name}/", kind="directory", size=0, crc=0, mtime=mtime)


def planned(name: str, size: int | None, **fields: Any) -> Entry:
    """An entry of which only arithmetic is asked."""
    return Entry(**{"name": name, "kind": "record", "size": size, "crc": 0, "mtime": MTIME} | fields)


def filling(size: int, seed: int) -> bytes:
    """Bytes that are not the same everywhere, quickly."""
    pattern = bytes((seed + step * step) % 251 for step in range(257))
    return (pattern * (size // len(pattern) + 1))[:size]


def archive(plan: Plan) -> bytes:
    """All bytes of the archive of `plan`."""
    return b"".join(send(plan, SOURCES))


def without_crcs(plan: Plan) -> Plan:
    """The same plan before anybody has read what is in blocks."""
    entries = (replace(each, crc=None) if each.form is Form.BLOCKS else each for each in plan.entries)
    return Plan(tuple(entries), plan.comment)


@st.composite
def _entries(draw: st.DrawFn, index: int, forms: tuple[Form, ...]) -> Entry:
    stem = draw(st.text(st.characters(codec="utf-8", exclude_characters="/\0\\"), max_size=12))
    mtime = draw(st.sampled_from(MTIMES) | st.integers(0, 2**31 - 1))
    if draw(st.integers(0, 9)) == 0:
        return directory_entry(f"{index}{stem}", mtime)
    size = draw(st.sampled_from(SIZES) | st.integers(0, 300))
    form = draw(st.sampled_from(forms))
    return text_entry(f"d/{index}{stem}.bin", filling(size, index), form, mtime=mtime)


@st.composite
def plans(draw: st.DrawFn, forms: tuple[Form, ...] = (Form.STORED, Form.BLOCKS, Form.DEFLATED)) -> Plan:
    """Plans with every form, sizes around the limits, directories, times that no zip can say."""
    count = draw(st.integers(0, 8))
    entries = [draw(_entries(index, forms)) for index in range(count)]
    return Plan(tuple(entries), draw(st.binary(max_size=20).filter(lambda text: b"PK" not in text)))


def random_plan(chance: random.Random) -> Plan:
    """A plan like those of :func:`plans`, for readers that take too long to be asked for each example."""
    entries = []
    for index in range(chance.randrange(1, 9)):
        stem = "".join(chance.choices("aZ9 .-_()'&+%äßñ漢字𝄞\u0301", k=chance.randrange(12)))
        mtime = chance.choice((*MTIMES, chance.randrange(2**31)))
        if chance.random() < 0.1:
            entries.append(directory_entry(f"{index}{stem}x", mtime))
            continue
        size = chance.choice((*SIZES, chance.randrange(300)))
        form = chance.choice((Form.STORED, Form.BLOCKS, Form.DEFLATED))
        entries.append(text_entry(f"d/{index}{stem}.bin", filling(size, index), form, mtime=mtime))
    return Plan(tuple(entries), b"comment"[: chance.randrange(8)])
