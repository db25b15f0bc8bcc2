"""Downloads while they run: rates, readers that take nothing or leave, figures, the end of the process."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
from werkzeug.test import TestResponse

from meteorpi_db.archives.downloads import Download, link_digest
from meteorpi_db.testing.processes import wait_until
from meteorpi_server import node_api
from meteorpi_server.archive_api.rate_schedule import Flow
from meteorpi_server.archive_api.rates import Rates
from meteorpi_server.archive_api.readers import Reader
from meteorpi_server.archive_api.slots import Claim, Slot, process_name
from meteorpi_server.archive_api.watching import GONE, STALLED, STOPPING
from meteorpi_server.settings import Settings
from meteorpi_server.standalone import StandaloneServer
from tests.archive.conftest import ArchiveNode, opened
from tests.archive.faulty_source import FaultySource, serving, silent_midway
from tests.archive.test_streams import Portal, service_of

pytestmark = pytest.mark.engines("sqlite")

DEADLINE = 60.0
EVERYTHING = [{"search": {"limit": 0}}]
LARGE = 8_000_000
"""More than sockets and servers hold for a reader that takes nothing."""


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Flow, int]]:
    """What is let through, in place of waiting for it."""
    found: list[tuple[Flow, int]] = []

    def take(_rates: Rates, flow: Flow, count: int, is_over: Callable[[], bool]) -> None:
        found.append((flow, count))

    monkeypatch.setattr(Rates, "take", take)
    return found


class Connection:
    """A reader that has asked for something, over a socket that holds little."""

    def __init__(self, address: str, path: str) -> None:
        parts = urlsplit(address)
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        self.socket.settimeout(DEADLINE)
        self.socket.connect((parts.hostname, parts.port))
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: node\r\n\r\n".encode())

    def begin(self) -> bytes:
        """The first bytes of the answer."""
        return self.socket.recv(1000)

    def rest(self) -> int:
        """Number of bytes until the connection ends, however it does."""
        count = 0
        try:
            while data := self.socket.recv(1 << 16):
                count += len(data)
        except ConnectionError:
            pass
        return count

    def close(self) -> None:
        self.socket.close()


@pytest.mark.contract("archive-3.9/rates")
def test_every_byte_is_sent_at_the_rate_of_its_archive_and_owner(
    make_archive_node: Callable[..., ArchiveNode], taken: list[tuple[Flow, int]]
) -> None:
    node = make_archive_node(rate_download=400_000)
    node.add_files(2, 300_000)
    made = node.ticket(EVERYTHING, node.client())

    archive = node.get(made["href"])
    part = node.get(made["href"], headers={"Range": "bytes=-5"})

    assert len(opened(archive)) == 3
    assert sum(count for _, count in taken) == made["bytes"] + len(part.data)
    assert max(count for _, count in taken) == 100_000, "a quarter of a second at most"
    assert {flow.link for flow, _ in taken} == {str(UUID(made["id"]))}
    assert {flow.owner.partition(":")[0] for flow, _ in taken} == {"client"}


@pytest.mark.contract("archive-3.9/rates")
def test_single_files_and_directories_have_rates_too(
    make_archive_node: Callable[..., ArchiveNode], taken: list[tuple[Flow, int]], tmp_path: Path
) -> None:
    storage = tmp_path / "storage"
    (storage / "0123456789abcdef").mkdir(parents=True)
    (storage / "0123456789abcdef" / "a").write_bytes(bytes(1000))
    with FaultySource({"/a.jpg": serving(bytes(7777))}) as source:
        allowed = [f"127.0.0.1:{source.port}"]
        node = make_archive_node(rate_total=1000, allowed_sources=allowed, storage_path=str(storage))
        (record,) = node.add_files(1)
        assert node.get("/archive/0123456789abcdef/").data
        signed = Portal(node, source).get().data
        file = node.generate([{"record": record.file_id.hex}], type="stream").json  # type: ignore[union-attr]
        service_of(node).remote.outbound.close()
        assert file is not None
        sent = node.get(file["href"]).data

    counts: dict[str, int] = {}
    for flow, count in taken:
        counts[flow.link] = counts.get(flow.link, 0) + count
    assert counts["0123456789abcdef"] > 1000
    assert sorted(counts.values())[-2:] == [len(sent), len(signed)] == [2000, 7777]


@pytest.mark.contract("archive-3.9/rates", "archive-defect-23")
def test_nothing_is_slowed_down_unless_asked_for(archive_node: ArchiveNode, taken: list[Any]) -> None:
    archive_node.add_files()

    assert len(opened(archive_node.get(archive_node.ticket(EVERYTHING)["href"]))) == 4
    assert taken == []


@pytest.mark.contract("archive-3.9/rates")
def test_processes_share_a_rate_by_what_they_send(make_archive_node: Callable[..., ArchiveNode]) -> None:
    node = make_archive_node(rate_total=1_000_000)
    node.add_files(1, LARGE)
    made = node.ticket(EVERYTHING)
    service = service_of(node)
    other = Download(download_id=uuid4(), process="other:1", link=link_digest("x"), owner="")
    shares: list[Any] = []
    service.rates.share = shares.append

    with node.http.get(made["href"]):
        service.watcher.look(time.monotonic() + 10)
        service.watcher._downloads.renew([other])
        service.watcher.look(time.monotonic() + 20)
        process = {each.process for each in service.watcher._downloads.running()}

    assert process == {process_name(), "other:1"}
    assert {each.total for each in shares} == {1.0, 0.5}
    wait_until(lambda: len(service.watcher._downloads.running()) == 1, DEADLINE, "the end of ours")


@pytest.mark.contract("archive-3.7/state")
def test_state_tells_what_is_being_sent_by_all_processes(archive_node: ArchiveNode) -> None:
    archive_node.add_files(1, LARGE)
    made = archive_node.ticket(EVERYTHING)
    there = Download(
        download_id=uuid4(),
        process="other:1",
        link="0" * 64,
        owner="",
        ticket_id=UUID(made["id"]),
        sent_bytes=9,
    )

    def state() -> tuple[str, int, int]:
        found = archive_node.get(made["status_href"]).json
        assert found is not None
        return found["state"], found["active_downloads"], found["bytes_sent"]

    before = state()
    with archive_node.http.get(made["href"]) as here:
        first = len(next(here.iter_encoded()))
        alone = state()
        service_of(archive_node).watcher._downloads.renew([there])
        assert state() == ("active", 2, first + 9)

    assert (before, alone) == (("available", 0, 0), ("active", 1, first))
    assert state() == ("active", 1, first + 9), "what was given up counts too"


@pytest.mark.contract("archive-3.8/flow")
def test_reader_that_takes_nothing_is_dropped(
    make_archive_node: Callable[..., ArchiveNode], serve: Callable[[ArchiveNode], str]
) -> None:
    node = make_archive_node(send_timeout=1, max_active=1)
    node.add_files(1, LARGE)
    made = node.ticket(EVERYTHING)
    address = serve(node)

    with closing(Connection(address, made["href"])) as stuck:
        stuck.begin()
        wait_until(lambda: outcome_of(node, STALLED) == 1, DEADLINE, "dropping the reader")

        assert service_of(node).watcher.slots() == []
        assert stuck.rest() < made["bytes"]
    service_of(node).active.begin("another")()  # it is free again


def methods(source: FaultySource) -> set[str]:
    """How the silent source was asked."""
    return {each.method for each in source.asked("/silent")}


@pytest.mark.contract("archive-3.8/flow")
def test_reader_that_takes_little_is_not_dropped(make_archive_node: Callable[..., ArchiveNode]) -> None:
    """The server may need long for one chunk; what counts is what arrives."""
    watcher = service_of(make_archive_node(send_timeout=100)).watcher
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as there:
        there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
        there.connect(listener.getsockname())
        here, _ = listener.accept()
        with here:
            here.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    here.send(bytes(1 << 16))
            reader = Reader(here)
            slot = Slot(Claim(link="a", reader=reader), watcher.remove)
            begun = slot.handed_at = slot.began_at
            settled(reader)
            watcher._slots.add(slot)  # without the thread that looks after it

            watcher.look(begun + 1)
            before = reader.taken_bytes()
            there.recv(1 << 20)
            wait_until(lambda: reader.taken_bytes() != before, DEADLINE, "taking something")
            settled(reader)
            watcher.look(begun + 150)
            assert slot.stop_reason is None
            watcher.look(begun + 249)
            assert slot.stop_reason is None
            watcher.look(begun + 250)

    assert slot.stop_reason == STALLED


def settled(reader: Reader) -> None:
    """Wait until what is on its way has arrived."""
    seen: list[int | None] = []

    def is_settled() -> bool:
        seen.append(reader.taken_bytes())
        return len(seen) > 10 and len(set(seen[-10:])) == 1

    wait_until(is_settled, DEADLINE, "arrival of what was sent")


def outcome_of(node: ArchiveNode, outcome: str) -> int:
    """How many downloads ended so."""
    return int(service_of(node).figures.counted().ended[outcome])


@pytest.mark.contract("archive-P8", "archive-3.8/gone", "archive-directory/producer")
@pytest.mark.parametrize("before", [[], ["/first"]])
def test_reader_that_leaves_while_a_source_is_silent_is_noticed(
    make_archive_node: Callable[..., ArchiveNode], serve: Callable[[ArchiveNode], str], before: list[str]
) -> None:
    """Nothing is written, so nothing fails: somebody else has to look. The source is hung up on at once."""
    with FaultySource({"/silent": silent_midway, "/first": serving(bytes(300_000))}) as source:
        node = make_archive_node(allowed_sources=[f"127.0.0.1:{source.port}"], max_active=1)
        items = [source.url(path) for path in [*before, "/silent"]]
        made = node.ticket(items, node.client("c", "url"))
        address = serve(node)
        connection = Connection(address, made["href"])
        watcher = service_of(node).watcher
        wait_until(lambda: "GET" in methods(source), DEADLINE, "the request")
        if before:
            assert connection.begin()

        connection.close()

        wait_until(lambda: outcome_of(node, GONE) == 1, DEADLINE, "noticing that the reader has left")
        assert watcher.slots() == []
        service_of(node).active.begin("another")()  # it is free again
        service_of(node).remote.outbound.close()


def test_reader_that_leaves_with_everything_has_not_gone(
    make_archive_node: Callable[..., ArchiveNode],
) -> None:
    """It may be quicker than the server is to ask for what comes after the last chunk."""
    watcher = service_of(make_archive_node()).watcher
    here, there = socket.socketpair()
    with here, there:
        slot = Slot(Claim(link="a", reader=Reader(here)), watcher.remove)
        slot.total_bytes = slot.sent_bytes = 1000
        watcher._slots.add(slot)  # without the thread that looks after it
        there.close()

        watcher.look(slot.began_at)
        assert slot.stop_reason is None
        slot.sent_bytes -= 1
        watcher.look(slot.began_at)

    assert slot.stop_reason == GONE


@pytest.mark.contract("archive-3.22")
def test_downloads_are_cut_after_the_grace_and_no_others_begin(
    make_archive_node: Callable[..., ArchiveNode],
) -> None:
    """As behind a server that was told to end; the reader goes on at another, where it was cut."""
    node = make_archive_node(shutdown_grace=600, send_timeout=9000)
    node.add_files(1, LARGE)
    made = node.ticket(EVERYTHING)
    whole = node.get(made["href"]).data
    service = service_of(node)
    running = node.http.get(made["href"])
    chunks = running.iter_encoded()
    got = next(chunks)

    node.meteor_app.stopping.ask()
    asked_at = node.meteor_app.stopping.asked_at
    assert asked_at is not None
    refused = node.get(made["href"])
    service.watcher.look(asked_at + 599)
    got += next(chunks)
    service.watcher.look(asked_at + 600)

    assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
    assert node.http.get("/archive/healthz").status_code == 503
    with pytest.raises(Exception, match=STOPPING):
        next(chunks)
    running.close()
    assert outcome_of(node, STOPPING) == 1
    node.meteor_app.stopping.asked_at = None
    rest = node.get(
        made["href"], headers={"Range": f"bytes={len(got)}-", "If-Range": running.headers["ETag"]}
    )
    assert got + rest.data == whole
    assert node.http.get("/archive/healthz").json == {"status": "ok"}


@pytest.mark.contract("archive-3.22")
def test_server_that_is_told_to_end_does_not_wait_for_a_reader_that_takes_nothing(
    make_archive_node: Callable[..., ArchiveNode],
) -> None:
    node = make_archive_node(shutdown_grace=0)
    node.add_files(1, LARGE)
    made = node.ticket(EVERYTHING)
    node.meteor_app.app.config["PROPAGATE_EXCEPTIONS"] = False
    settings = Settings(host="127.0.0.1", stop_seconds=600)
    server = StandaloneServer(node.meteor_app.app, settings, 0, on_stop=node.meteor_app.stopping.ask)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()

    with closing(Connection(f"http://127.0.0.1:{server.port}", made["href"])) as stuck:
        stuck.begin()
        wait_until(lambda: bool(service_of(node).watcher.slots()), DEADLINE, "the download")
        server.stop()
        thread.join(DEADLINE)

        assert not thread.is_alive()
        assert outcome_of(node, STOPPING) == 1
        assert stuck.rest() < made["bytes"]


def test_waiters_are_sent_away_when_the_process_ends(make_archive_node: Callable[..., ArchiveNode]) -> None:
    node = make_archive_node(no_queue=False, simultaneous_downloads_limit=1)
    node.add_files()
    first, second = (node.ticket(EVERYTHING) for _ in range(2))
    node.get(first["status_href"] + "/wait")
    node.meteor_app.stopping.ask()

    events = node.get(second["status_href"] + "/wait", headers={"Accept": "text/event-stream"})
    poll = node.get(second["status_href"] + "/wait")

    assert [json.loads(line) for line in re.findall("data: (.*)", events.text)] == [
        {"position": 0, "available": False}
    ]
    assert poll.json == {"position": 0, "available": False}


@pytest.mark.contract("archive-3.7/sweep")
def test_expired_links_and_lapsed_turns_go_though_nobody_asks(
    make_archive_node: Callable[..., ArchiveNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = make_archive_node(no_queue=False, simultaneous_downloads_limit=1, slot_lease=30)
    node.add_files()
    lapsed, waiting, expired = (node.ticket(EVERYTHING, ttl=ttl) for ttl in (9000, 9000, 60))
    for made in (lapsed, waiting):
        node.get(made["status_href"] + "/wait?timeout=0")
    later(node, 31)
    service_of(node).queue.enter(UUID(waiting["id"]), "somebody")
    later(node, 3600)

    with node.meteor_app.upkeep:
        wait_until(lambda: node.register.count_tickets() == 2, DEADLINE, "removal of what has expired")
        wait_until(lambda: service_of(node).queue.length() == 0, DEADLINE, "removal of who has left")

    assert node.get(expired["status_href"]).status_code == 404
    assert [node.get(each["status_href"]).json["state"] for each in (lapsed, waiting)] == ["new"] * 2  # type: ignore[index]


def later(node: ArchiveNode, seconds: float) -> None:
    node.clock.ahead += timedelta(seconds=seconds)


@pytest.mark.contract("archive-3.23")
def test_everything_is_counted_in_the_metrics_of_the_node(
    make_archive_node: Callable[..., ArchiveNode],
) -> None:
    with FaultySource({"/silent": silent_midway}) as source:
        node = make_archive_node(
            no_queue=False, idle_timeout=1, retries=0, allowed_sources=[f"127.0.0.1:{source.port}"]
        )
        node_api.add_routes(node.meteor_app)
        node.add_files()
        made = node.ticket(EVERYTHING)
        failing = node.ticket([source.url("/silent")], node.client("c", "url"))
        sent = [len(in_turn(node, made, headers).data) for headers in ({}, {"Range": "bytes=9-"})]
        with in_turn(node, made) as given_up:
            first = next(iter(given_up.response))
        assert in_turn(node, failing).status_code == 503
        service_of(node).remote.outbound.close()

        text = node.get("/metrics").text
    found = dict(re.findall(r"^meteorpi_archive_(\S+) (\S+)$", text, re.MULTILINE))
    assert found["downloads_started_total"] == "4"
    assert found["downloads_resumed_total"] == "1"
    assert found['downloads_ended_total{outcome="complete"}'] == "2"
    assert found['downloads_ended_total{outcome="aborted"}'] == "1"
    assert found['downloads_ended_total{outcome="timeout"}'] == "1"
    assert found['sources_failed_total{reason="timeout"}'] == "1"
    assert float(found["sent_bytes_total"]) >= sum(sent) + len(first)
    assert (found["downloads_active"], found["queue_length"]) == ("0", "0")
    assert (found["waits_total"], found["wait_seconds_total"]) == ("4", "0")


def in_turn(node: ArchiveNode, made: Any, headers: dict[str, str] | None = None) -> TestResponse:
    """The answer for an archive when its turn has come."""
    node.get(made["status_href"] + "/wait")
    return node.http.get(made["href"], headers=headers)


@pytest.mark.contract("archive-3.23")
def test_checksums_that_were_computed_and_those_that_were_kept_are_counted(
    make_archive_node: Callable[..., ArchiveNode], tmp_path: Path
) -> None:
    directory = tmp_path / "storage" / "0123456789abcdef"
    directory.mkdir(parents=True)
    for name in "ab":
        (directory / name).write_text(name)
    node = make_archive_node(storage_path=str(directory.parent))
    node_api.add_routes(node.meteor_app)

    for _ in range(2):
        assert node.get("/archive/0123456789abcdef/").status_code == 200

    text = node.get("/metrics").text
    assert "\nmeteorpi_archive_crc_computed_total 2\n" in text
    assert "\nmeteorpi_archive_crc_cache_hits_total 2\n" in text


@pytest.mark.contract("archive-3.23")
def test_log_of_a_download_is_one_line_of_values_without_secrets(
    archive_node: ArchiveNode, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    archive_node.add_files()
    header = archive_node.client("catalogue")
    made = archive_node.ticket(EVERYTHING, header, filename="secret name.zip")

    archive_node.get(made["href"], headers=header)

    (line,) = [each.getMessage() for each in caplog.records if each.name == "meteorpi.archive.download"]
    values = dict(word.split("=", 1) for word in line.split() if "=" in word)
    assert list(values) == ["link", "owner", "outcome", "bytes", "seconds", "entries", "of", "is_whole"]
    assert (values["outcome"], values["bytes"], values["entries"]) == ("complete", str(made["bytes"]), "4")
    assert values["link"] == made["id"][:8] + "…"
    for secret in (made["id"], header["authorize"], "secret name"):
        assert secret not in line


@pytest.mark.contract("archive-3.23")
def test_log_of_a_single_file_holds_neither_address_nor_token(
    caplog: pytest.LogCaptureFixture, make_archive_node: Callable[..., ArchiveNode]
) -> None:
    caplog.set_level("INFO")
    with FaultySource({"/a.jpg": serving(b"hello")}) as source:
        node = make_archive_node(allowed_sources=[f"127.0.0.1:{source.port}"])
        portal = Portal(node, source)
        assert portal.get("/a.jpg?key=sesame").data == b"hello"
        assert portal.get("/b.jpg").status_code == 502
        service_of(node).remote.outbound.close()

    lines = [each.getMessage() for each in caplog.records if each.name == "meteorpi.archive.download"]
    assert [re.findall(r"outcome=(\S+) bytes=(\d+)", line) for line in lines] == [
        [("complete", "5")],
        [("status", "0")],
    ]
    assert not re.search(r"sesame|a\.jpg|127\.0\.0\.1", "".join(lines))


def test_what_cannot_be_seen_of_a_reader_is_not_taken_for_its_end() -> None:
    assert not Reader().is_gone()
    Reader().hang_up()
    here, there = socket.socketpair()
    with here, there:
        assert not Reader.of({"gunicorn.socket": here}).is_gone()
        there.sendall(b"GET")
        assert not Reader.of({"werkzeug.socket": here}).is_gone(), "the next request"
        there.close()
        here.recv(3)
        assert Reader.of({"meteorpi.socket": here}).is_gone()
    assert Reader.of({"meteorpi.socket": here}).is_gone(), "closed"
    assert not Reader.of({"meteorpi.socket": object()}).is_gone()
