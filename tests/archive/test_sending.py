"""Archives on their way: never a whole-looking entry that is wrong, and nothing left open."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meteorpi_db.filestore.crc import find_crc32
from meteorpi_model.errors import UnavailableError
from meteorpi_server.archiving import Entry, Form, OnError, Plan
from meteorpi_server.archiving.failures import CutShortError, Reason, SourceFailedError
from meteorpi_server.archiving.outbox import NOW, gathered
from meteorpi_server.archiving.reports import EntryFailed, EntrySent
from meteorpi_server.archiving.sending import send
from meteorpi_server.archiving.sources import Chunks, PathSource, Source, TextSource
from tests.archive.plans import MTIME, SOURCES, archive, filling, text_entry

Step = bytes | Exception
SIZE = 300_000
CHUNK = 50_000
CONTENT = filling(SIZE, 5)
PARTS = [CONTENT[at : at + CHUNK] for at in range(0, SIZE, CHUNK)]


class Script(Iterator[bytes]):
    """Chunks that come, or errors, as written down."""

    def __init__(self, steps: Sequence[Step], closed: list[int]) -> None:
        self._steps = iter(steps)
        self._closed = closed

    def __next__(self) -> bytes:
        step = next(self._steps)
        if isinstance(step, Exception):
            raise step
        return step

    def close(self) -> None:
        self._closed.append(1)


class ScriptedSource(Source):
    """Contents by reference; notes what is opened and closed."""

    def __init__(self, **steps: Sequence[Step]) -> None:
        self._steps = steps
        self.opened: list[str] = []
        self.closed: list[int] = []

    def open(self, entry: Entry, start: int, stop: int | None) -> Chunks:
        self.opened.append(entry.reference)
        steps = self._steps[entry.reference]
        if steps and isinstance(steps[0], SourceFailedError):
            raise steps[0]
        return Script(steps, self.closed)

    def check(self, entry: Entry) -> None:
        raise NotImplementedError


def remote(reference: str, form: Form = Form.STORED, **changes: Any) -> Entry:
    """A URL whose content should be CONTENT."""
    known: dict[str, Any] = {} if form is Form.STORED else {"crc": None}
    entry = Entry(
        name=f"{reference}.bin",
        kind="url",
        reference=reference,
        size=SIZE,
        crc=zlib.crc32(CONTENT),
        mtime=MTIME,
        form=form,
    )
    return replace(entry, **(known | changes))


class Received:
    """What a reader got until the archive ended, well or not."""

    def __init__(self, plan: Plan, source: Source) -> None:
        self.bytes = b""
        self.events: list[EntrySent | EntryFailed] = []
        self.error: CutShortError | SourceFailedError | None = None
        try:
            for chunk in send(plan, {"url": source, "text": TextSource()}, report=self.events.append):
                self.bytes += chunk
        except (CutShortError, SourceFailedError) as error:
            self.error = error

    @property
    def failures(self) -> list[tuple[int, Reason, bool]]:
        return [
            (each.index, each.reason, each.is_fatal) for each in self.events if isinstance(each, EntryFailed)
        ]

    def entries(self) -> dict[str, bytes]:
        with zipfile.ZipFile(io.BytesIO(self.bytes)) as found:
            assert found.testzip() is None
            return {each.filename: found.read(each) for each in found.infolist()}


FAULTS: dict[str, tuple[list[Step], Reason]] = {
    "short": ([*PARTS[:-1]], Reason.SHORT),
    "one-byte-short": ([*PARTS[:-1], PARTS[-1][:-1]], Reason.SHORT),
    "long": ([*PARTS, b"x"], Reason.LONG),
    "endless": ([*PARTS, *PARTS, *PARTS], Reason.LONG),
    "other-bytes": ([*PARTS[:-1], bytes(CHUNK)], Reason.WRONG_DIGEST),
    "one-bit": ([bytes([CONTENT[0] ^ 1]) + CONTENT[1:]], Reason.WRONG_DIGEST),
    "reset": ([*PARTS[:3], UnavailableError("reset")], Reason.UNREADABLE),
    "disk": ([*PARTS[:3], OSError(5, "Input/output error")], Reason.UNREADABLE),
    "timeout": ([*PARTS[:3], SourceFailedError("silent", reason=Reason.TIMEOUT)], Reason.TIMEOUT),
}


@pytest.mark.contract("archive-3.12/after", "archive-defect-1", "archive-fpx/failing-source", "archive-6.5")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("is_first_pass", [False, True])
def test_content_that_is_wrong_is_never_whole(fault: str, is_first_pass: bool) -> None:
    """Whatever a reader has by then lacks the end of the entry, and of course the directory."""
    steps, reason = FAULTS[fault]
    good = [text_entry("first.txt", b"first"), remote("good")]
    more = [remote("unknown", Form.BLOCKS)] if is_first_pass else []
    plan = Plan((*good, *more, remote("bad"), remote("never")))
    source = ScriptedSource(good=PARTS, unknown=PARTS, bad=steps, never=PARTS)

    received = Received(plan, source)

    bad = len(good) + len(more)
    assert isinstance(received.error, CutShortError)
    assert (received.error.index, received.error.reason) == (bad, reason)
    assert len(received.bytes) < plan.layout.starts[bad + 1]
    assert "never" not in source.opened
    assert len(source.closed) == len(source.opened)
    assert received.failures == [(bad, reason, True)]


@pytest.mark.contract("archive-3.12/after", "archive-defect-1", "archive-6.5")
@pytest.mark.parametrize("form", [Form.BLOCKS, Form.STREAMED])
@pytest.mark.parametrize("fault", ["short", "long", "reset", "other-bytes"])
def test_content_of_unknown_checksum_is_checked_by_length_and_md5(form: Form, fault: str) -> None:
    details = {"md5": hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}
    source = ScriptedSource(good=PARTS, bad=FAULTS[fault][0])

    received = Received(Plan((remote("good", form), remote("bad", form, details=details))), source)

    assert isinstance(received.error, CutShortError)
    assert received.error.reason is FAULTS[fault][1]
    assert len(source.closed) == 2


@pytest.mark.contract("archive-3.12/after")
@pytest.mark.parametrize("steps", [[b"wrong"], [b"righ"], [b"right", b"s"], [b"rig", b"hts"], []])
def test_small_wrong_content_is_held_back_whole(steps: list[bytes]) -> None:
    entry = remote("bad", size=5, crc=zlib.crc32(b"right"))
    plan = Plan((text_entry("first.txt", bytes(300_000)), entry))

    received = Received(plan, ScriptedSource(bad=steps))

    assert isinstance(received.error, CutShortError)
    assert len(received.bytes) <= plan.layout.starts[1] + 30 + len(entry.name) + 9


@pytest.mark.contract("archive-3.12/before", "archive-defect-1")
@pytest.mark.parametrize("form", [Form.STORED, Form.BLOCKS])
def test_first_source_that_fails_is_told_before_the_first_byte(form: Form) -> None:
    gone = SourceFailedError("gone", reason=Reason.MISSING)
    plan = Plan((text_entry("MANIFEST.json", b"{}"), remote("bad", form)))

    received = Received(plan, ScriptedSource(bad=[gone]))

    assert received.bytes == b""
    assert isinstance(received.error, SourceFailedError)
    assert (received.error.reason, received.error.context["index"]) == (Reason.MISSING, 1)


@pytest.mark.contract("archive-3.12/policies", "archive-defect-2")
@pytest.mark.parametrize("on_error", [OnError.SKIP, OnError.PARTIAL])
def test_source_that_fails_before_its_first_byte_is_left_out_and_listed(on_error: OnError) -> None:
    steps: dict[str, list[Step]] = {
        "refused": [SourceFailedError("refused", reason=Reason.REFUSED)],
        "reset": [UnavailableError("reset")],
        "good": [*PARTS],
    }
    plan = Plan((remote("refused"), remote("good"), remote("reset")), on_error=on_error)

    received = Received(plan, ScriptedSource(**steps))

    entries = received.entries()
    listed = json.loads(entries.pop("_ERRORS.json"))["errors"]
    assert entries == {"good.bin": CONTENT}
    assert [(each["index"], each["name"], each["reason"]) for each in listed] == [
        (0, "refused.bin", "refused"),
        (2, "reset.bin", "unreadable"),
    ]
    assert received.failures == [(0, Reason.REFUSED, False), (2, Reason.UNREADABLE, False)]


@pytest.mark.contract("archive-3.12/policies")
def test_nothing_is_listed_where_nothing_failed() -> None:
    received = Received(Plan((remote("good"),), on_error=OnError.SKIP), ScriptedSource(good=PARTS))

    assert list(received.entries()) == ["good.bin"]
    assert received.events == [EntrySent(0, SIZE, zlib.crc32(CONTENT))]


@pytest.mark.contract("archive-3.12/policies")
def test_source_that_fails_in_its_middle_cuts_what_skips() -> None:
    plan = Plan((remote("good"), remote("bad")), on_error=OnError.SKIP)

    received = Received(plan, ScriptedSource(good=PARTS, bad=FAULTS["reset"][0]))

    assert isinstance(received.error, CutShortError)


@pytest.mark.contract("archive-3.12/policies", "archive-6.5")
@pytest.mark.parametrize("details", [{}, {"deflate": "always"}, {"deflate": "probe"}])
def test_partial_entry_ends_early_and_is_listed_with_both_lengths(details: dict[str, object]) -> None:
    entries = (remote("bad", Form.STREAMED, details=details), remote("good"))
    plan = Plan(entries, on_error=OnError.PARTIAL)

    received = Received(plan, ScriptedSource(good=PARTS, bad=FAULTS["reset"][0]))

    found = received.entries()
    (listed,) = json.loads(found["_ERRORS.json"])["errors"]
    assert found["good.bin"] == CONTENT
    assert 0 < listed["bytes"] == len(found["bad.bin"]) < SIZE == listed["expected_bytes"]
    assert CONTENT.startswith(found["bad.bin"])
    assert [each.index for each in received.events if isinstance(each, EntrySent)] == [1]


@pytest.mark.contract("archive-3.12/policies", "archive-defect-2")
def test_archive_of_which_every_source_failed_is_not_sent() -> None:
    gone = [SourceFailedError("gone", reason=Reason.MISSING)]
    entries = (text_entry("MANIFEST.json", b"{}"), remote("a"), remote("b"))

    received = Received(Plan(entries, on_error=OnError.SKIP), ScriptedSource(a=gone, b=gone))

    assert received.bytes == b""
    assert isinstance(received.error, SourceFailedError)


@pytest.mark.contract("archive-3.12/policies")
def test_report_takes_a_name_that_is_free() -> None:
    entries = (text_entry("_errors.JSON", b"mine"), remote("good"), remote("bad"))
    gone = [SourceFailedError("gone", reason=Reason.MISSING)]

    received = Received(Plan(entries, on_error=OnError.SKIP), ScriptedSource(good=PARTS, bad=gone))

    assert list(received.entries()) == ["_errors.JSON", "good.bin", "_ERRORS (2).json"]


@pytest.mark.contract("archive-3.8/flow")
@pytest.mark.parametrize("form", [Form.STORED, Form.BLOCKS])
@pytest.mark.parametrize("size", [5, SIZE])
def test_first_byte_leaves_before_the_second_source_is_opened(form: Form, size: int) -> None:
    crc = None if form is Form.BLOCKS else zlib.crc32(CONTENT[:size])
    entries = [remote(name, form, size=size, crc=crc) for name in ("a", "b")]
    source = ScriptedSource(a=[CONTENT[:size]], b=[CONTENT[:size]])
    chunks = send(Plan((text_entry("MANIFEST.json", b"{}"), *entries)), SOURCES | {"url": source})

    next(chunks)

    assert source.opened == ["a"]
    chunks.close()
    assert len(source.closed) == 1


@pytest.mark.contract("archive-3.8/gone", "archive-fpx/client-gone")
@pytest.mark.parametrize("form", [Form.STORED, Form.BLOCKS, Form.STREAMED])
def test_reader_that_leaves_closes_the_source(form: Form) -> None:
    source = ScriptedSource(a=PARTS)
    chunks = send(Plan((remote("a", form),)), {"url": source})
    next(chunks)

    chunks.close()

    assert source.closed == [1]


def test_sending_opens_nothing_before_somebody_reads() -> None:
    source = ScriptedSource(a=PARTS)

    send(Plan((remote("a"),)), {"url": source}).close()

    assert source.opened == []


@pytest.mark.contract("archive-3.8/range", "archive-4.5")
def test_range_reads_no_source_outside_itself() -> None:
    plan = Plan((remote("a"), remote("b"), remote("c")))
    source = ScriptedSource(b=[CONTENT[:10]])
    start = plan.layout.starts[1] + 30 + len("b.bin") + 9

    found = b"".join(send(plan, {"url": source}, start, start + 10))

    assert found == CONTENT[:10]
    assert source.opened == ["b"]


@pytest.mark.contract("archive-defect-6", "archive-3.12/after")
def test_file_that_cannot_be_read_to_its_end_cuts_the_archive(tmp_path: Path) -> None:
    entries = []
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(CONTENT)
        facts = {"size": SIZE, "crc": zlib.crc32(CONTENT), "mtime": MTIME}
        entries.append(Entry(name=name, kind="path", reference=name, **facts))  # type: ignore[arg-type]
    (tmp_path / "b").write_bytes(CONTENT[:-1])

    with pytest.raises(CutShortError) as raised:
        list(send(Plan(tuple(entries)), {"path": PathSource(tmp_path)}))

    assert raised.value.reason is Reason.SHORT


def test_file_that_got_a_content_since_is_not_sent_as_empty(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"grown")
    entry = Entry(name="a", kind="path", reference="a", size=0, crc=0, mtime=MTIME)

    with pytest.raises(SourceFailedError):
        list(send(Plan((entry,)), {"path": PathSource(tmp_path)}))


@pytest.mark.contract("archive-3.15/at-hand")
def test_deflated_body_at_hand_goes_in_as_it_is() -> None:
    entry = text_entry("a.csv", b"1,2,3\n" * 50_000, Form.DEFLATED)

    whole = archive(Plan((entry,)))

    assert entry.body in whole
    with zipfile.ZipFile(io.BytesIO(whole)) as found:
        assert found.read("a.csv") == b"1,2,3\n" * 50_000


BODIES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda body: body[:-1],
    "longer": lambda body: body + b"x",
    "damaged": lambda body: body[:10] + b"\xff" * 10 + body[20:],
    "of-other-content": lambda _: text_entry("b", bytes(300_000), Form.DEFLATED).body,
}


@pytest.mark.contract("archive-3.15/at-hand", "archive-3.12/after")
@pytest.mark.parametrize("body", BODIES)
def test_deflated_body_is_checked_by_what_it_inflates_to(body: str) -> None:
    entry = text_entry("a", CONTENT, Form.DEFLATED)
    wrong = BODIES[body](entry.body)

    with pytest.raises(SourceFailedError):
        list(send(Plan((replace(entry, body=wrong, stored_size=len(wrong)),)), SOURCES))


@pytest.mark.contract("archive-4.4")
def test_what_has_no_length_ends_at_4_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meteorpi_server.archiving.zip_format.FULL_32", 200_000)
    entry = remote("a", Form.STREAMED, size=None)

    received = Received(Plan((entry,)), ScriptedSource(a=PARTS))

    assert received.error is not None
    assert received.error.reason is Reason.TOO_LARGE


@pytest.mark.contract("archive-fpx/chunk-size")
def test_small_pieces_are_gathered_and_large_ones_cut() -> None:
    pieces = [b"a" * 10, b"b" * 10, NOW, b"c" * 10, b"d" * 1000, b"e"]

    assert [len(each) for each in gathered(pieces, 400)] == [20, 10, 400, 400, 200, 1]


def test_checksums_are_the_same_with_and_without_the_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    fastest = find_crc32()
    monkeypatch.setitem(sys.modules, "isal", None)

    assert find_crc32() is zlib.crc32
    assert fastest(CONTENT[7:], fastest(CONTENT[:7], 0)) == zlib.crc32(CONTENT)
