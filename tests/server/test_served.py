"""The application behind a real socket: the development server and the standalone server."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meteorpi_db import MeteorDatabase
from meteorpi_db.testing.processes import wait_until
from meteorpi_model import FileRecordSearch, MetaConstraint, NSString
from meteorpi_model.errors import ConfigurationError
from meteorpi_server import MeteorServer, parsing
from meteorpi_server.deployment import make_meteor_app
from meteorpi_server.settings import Settings
from meteorpi_server.standalone import StandaloneServer
from tests.server.conftest import Node, basic, id_of
from tests.server.test_parsing import TEXT

TIMEOUT = 20


def serve(node: Node, **changes: int) -> tuple[StandaloneServer, threading.Thread]:
    server = StandaloneServer(node.meteor_app.app, Settings(host="127.0.0.1", port=0, **changes))  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run)
    thread.start()
    return server, thread


@pytest.fixture
def address(node: Node) -> Iterator[str]:
    """Address of the node, served on a free port."""
    server, thread = serve(node)
    yield f"http://127.0.0.1:{server.port}"
    server.stop()
    thread.join(TIMEOUT)
    assert not thread.is_alive()


@pytest.mark.contract("7.2/start_non_blocking", "7.2/add_all_routes", "7.2/base_url", "B-60", "B-61")
def test_development_servers_are_independent_and_can_start_again(tmp_path: Path) -> None:
    servers = [MeteorServer(str(tmp_path / f"{name}.db"), str(tmp_path / name), 0) for name in ("a", "b")]
    for _ in range(2):
        stops = [server.start_non_blocking() for server in servers]
        for server in servers:
            assert server.base_url() == f"http://localhost:{server.port}/"
            assert requests.get(server.base_url() + "/cameras", timeout=TIMEOUT).json() == {"cameras": []}
            assert requests.get(server.base_url() + "/users", timeout=TIMEOUT).status_code == 401
            assert requests.post(server.base_url() + "/import", timeout=TIMEOUT).status_code == 401
        for stop in stops:
            stop()
        for server in servers:
            assert server.server is None
            with socket.socket() as free:
                free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                free.bind(("127.0.0.1", server.port))
    assert servers[0].port != servers[1].port
    for server in servers:
        server.db.close()


@pytest.mark.contract("7.2/constructor", "7.2/attributes", "7.2/base_url")
def test_a_development_server_binds_no_port_before_it_starts_and_needs_no_routes(tmp_path: Path) -> None:
    first = MeteorServer(str(tmp_path / "a.db"), str(tmp_path / "a"), 45678, add_routes=False)
    second = MeteorServer(str(tmp_path / "a.db"), str(tmp_path / "a"), 45678)

    assert list(first.meteor_app.app.url_map.iter_rules()) == []
    assert first.server is None
    assert isinstance(first.db, MeteorDatabase)
    assert first.base_url() == second.base_url() == "http://localhost:45678/"
    first.db.close()
    second.db.close()


@pytest.mark.engines("sqlite")
@pytest.mark.contract("8.1/search-strings", "B-33")
def test_searches_survive_a_real_socket(node: Node, address: str) -> None:
    session = requests.Session()

    @settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(name=TEXT, text=TEXT, limit=st.integers(1, 50))
    def check(name: str, text: str, limit: int) -> None:
        constraint = MetaConstraint("string_equals", NSString("key"), text)
        search = FileRecordSearch(camera_ids=[name], meta_constraints=[constraint], limit=limit)
        answer = session.get(f"{address}/files/{parsing.segment_of_search(search)}", timeout=TIMEOUT)
        assert answer.status_code == (400 if "\0" in name + text else 200)
        once = quote(json.dumps(search.as_dict()), safe="")
        assert session.get(f"{address}/files/{once}", timeout=TIMEOUT).status_code == answer.status_code

    check()
    session.close()


@pytest.mark.engines("sqlite")
@pytest.mark.contract("8.1/range", "B-34")
def test_ranges_survive_a_real_socket(node: Node, address: str) -> None:
    content = bytes(range(256))
    file_url = f"{address}/files/content/{id_of(node.add_file(content)).hex}"
    session = requests.Session()

    @settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(first=st.integers(0, 300), last=st.integers(0, 300))
    def check(first: int, last: int) -> None:
        answer = session.get(file_url, headers={"Range": f"bytes={first}-{last}"}, timeout=TIMEOUT)
        if last < first:
            assert (answer.status_code, answer.content) == (200, content)
        elif first >= len(content):
            assert answer.status_code == 416
        else:
            assert (answer.status_code, answer.content) == (206, content[first : last + 1])

    check()
    session.close()


@pytest.mark.engines("sqlite")
@pytest.mark.contract("7.2/slashes", "8/url_path")
def test_double_slashes_and_mounting_below_a_path(db: MeteorDatabase, tmp_path: Path) -> None:
    chosen = Settings(url_path="/api/", routes=("query", "importer"))
    node = Node(db, make_meteor_app(db, chosen), tmp_path)
    server, thread = serve(node)
    base = f"http://127.0.0.1:{server.port}"

    statuses = [
        requests.get(base + path, timeout=TIMEOUT, allow_redirects=False).status_code
        for path in ("/api/cameras", "//api/cameras", "/cameras", "/api/users", "/api/health")
    ]
    posted = requests.post(base + "/api/import", timeout=TIMEOUT)
    server.stop()
    thread.join()

    assert statuses == [200, 200, 404, 404, 404]
    assert posted.status_code == 401


def test_unknown_route_packages_stop_the_start(tmp_path: Path) -> None:
    with (
        MeteorDatabase(str(tmp_path / "x.db"), str(tmp_path / "x")) as db,
        pytest.raises(ConfigurationError, match="METEORPI_ROUTES"),
    ):
        make_meteor_app(db, Settings(routes=("query", "telepathy")))


def test_a_port_in_use_is_a_clear_error(tmp_path: Path) -> None:
    with socket.socket() as taken, MeteorDatabase(str(tmp_path / "x.db"), str(tmp_path / "x")) as db:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=str(port)):
            StandaloneServer(make_meteor_app(db, Settings()).app, Settings(port=port))


@pytest.mark.engines("sqlite")
@pytest.mark.contract("issue-2.4/serving", "B-57")
def test_chunked_bodies_are_taken_and_limited(node: Node, address: str) -> None:
    def chunks(size: int) -> Iterator[bytes]:
        yield b'{"user_id": "chunked", "password": "'
        for _ in range(size):
            yield b"x" * 100
        yield b'"}'

    taken = requests.post(f"{address}/users", data=chunks(1), headers=basic("admin"), timeout=TIMEOUT)
    too_large = requests.post(
        f"{address}/users", data=chunks(100_000), headers=basic("admin"), timeout=TIMEOUT
    )

    assert taken.status_code == 200
    assert too_large.status_code == 413
    assert too_large.json()["code"] == "too-large"


@pytest.mark.engines("sqlite")
@pytest.mark.contract("B-57", "faults/uploads")
@pytest.mark.parametrize("header", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_a_body_that_is_cut_off_changes_nothing(node: Node, address: str, header: str) -> None:
    document = b'{"user_id": "cut", "password": "off"}'
    body = document if "Length" in header else b"%x\r\n%s\r\n" % (len(document), document)
    authorization = basic("admin")["Authorization"]
    head = f"POST /users HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n{header}\r\n\r\n"
    host, port = address.removeprefix("http://").split(":")

    with socket.create_connection((host, int(port)), TIMEOUT) as connection:
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(1)
        try:
            answer = connection.recv(100)
        except TimeoutError:
            answer = b""

    assert b" 200 " not in answer
    assert "cut" not in [user.user_id for user in node.db.get_users()]


@pytest.mark.engines("sqlite")
@pytest.mark.contract("K-120")
def test_a_body_that_is_measured_in_two_ways_is_refused(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    head = b"POST /users HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n"

    with socket.create_connection((host, int(port)), TIMEOUT) as connection:
        connection.sendall(head + b"2\r\n{}\r\n0\r\n\r\n")
        answer = connection.recv(100)

    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.engines("sqlite")
@pytest.mark.contract("8.1/full", "B-57")
def test_large_content_is_streamed_and_a_client_may_leave_midway(node: Node, address: str) -> None:
    record = node.add_file(os.urandom(1 << 20) * 64)
    path = f"/files/content/{id_of(record).hex}"
    host = address.removeprefix("http://")

    for _ in range(10):
        with closing(http.client.HTTPConnection(host, timeout=TIMEOUT)) as connection:
            connection.request("GET", path)
            assert len(connection.getresponse().read(1000)) == 1000

    with requests.get(address + path, stream=True, timeout=TIMEOUT) as answer:
        assert sum(map(len, answer.iter_content(1 << 20))) == record.file_size


@pytest.mark.engines("sqlite")
@pytest.mark.contract("issue-2.4/serving", "B-58")
def test_a_stop_answers_what_is_in_flight(node: Node) -> None:
    entered, leave = threading.Event(), threading.Event()

    @node.meteor_app.app.get("/slow")
    def slow() -> dict[str, str]:
        entered.set()
        leave.wait(TIMEOUT)
        return {"done": "yes" * 100_000}

    server, thread = serve(node)
    answers: list[requests.Response] = []
    asking = threading.Thread(
        target=lambda: answers.append(requests.get(f"http://127.0.0.1:{server.port}/slow", timeout=TIMEOUT))
    )
    asking.start()
    assert entered.wait(TIMEOUT)

    server.stop()
    wait_until(lambda: not accepts(server.port), TIMEOUT, "the end of the port")
    leave.set()
    asking.join(TIMEOUT)
    thread.join(TIMEOUT)

    assert not thread.is_alive()
    assert answers[0].json() == {"done": "yes" * 100_000}
    server.stop()  # once more is no error


@pytest.mark.engines("sqlite")
@pytest.mark.contract("B-58")
def test_a_stop_does_not_wait_for_ever(node: Node) -> None:
    entered, leave = threading.Event(), threading.Event()

    @node.meteor_app.app.get("/stuck")
    def stuck() -> dict[str, str]:
        entered.set()
        leave.wait(TIMEOUT)
        return {}

    server, thread = serve(node, stop_seconds=0)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
        assert entered.wait(TIMEOUT)
        server.stop()
        thread.join(TIMEOUT)
        assert not thread.is_alive()
        leave.set()


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


SCRIPT = """
import sys, threading
from meteorpi_db import MeteorDatabase
from meteorpi_server.deployment import make_meteor_app
from meteorpi_server.settings import Settings
from meteorpi_server.standalone import serve

settings = Settings(port=0)
db = MeteorDatabase(sys.argv[1], sys.argv[2])
db.get_cameras()
meteor_app = make_meteor_app(db, settings)

@meteor_app.app.get("/slow")
def slow():
    print("entered", flush=True)
    threading.Event().wait(1)
    return {"cameras": db.get_cameras()}

serve(meteor_app.app, settings, on_start=lambda port: print(port, flush=True))
print("ended", flush=True)
"""


@pytest.mark.contract("B-58")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_the_process_cleanly(db_path: str, tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", SCRIPT, db_path, str(tmp_path / "files")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        answers: list[requests.Response] = []
        asking = threading.Thread(
            target=lambda: answers.append(requests.get(f"http://127.0.0.1:{port}/slow", timeout=TIMEOUT))
        )
        asking.start()
        assert process.stdout.readline() == "entered\n"

        process.send_signal(number)
        asking.join(TIMEOUT)
        rest, errors = process.communicate(timeout=TIMEOUT)

    assert answers[0].json() == {"cameras": []}
    assert rest == "ended\n"
    assert process.returncode == 0, errors
