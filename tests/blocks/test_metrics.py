"""Metrics of blocks, and the line of the log for each request."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from meteorpi_db import MeteorDatabase
from meteorpi_db.testing.processes import free_port
from meteorpi_model.errors import AccountingUnavailableError, ConfigurationError, UnavailableError
from meteorpi_server import MeteorApp, block_api, problems
from meteorpi_server.block_accounts.dummy import DummyAccounts
from meteorpi_server.block_accounts.figures import Counted
from meteorpi_server.block_api.current import current_service
from meteorpi_server.block_api.metrics import BlockMetrics
from meteorpi_server.settings import Settings
from meteorpi_server.tallies import MemoryTally
from tests.blocks.signed_in import add_users, signed_in

pytestmark = pytest.mark.engines("sqlite")

FILES = "/api/v0/files"
DUMMY = {"Authorization": "Token MAGICFARYDUST"}
ANCESTORS = {
    "block_in_progress_requests": "gauge",
    "block_response_time": "histogram",
    "block_wait_for_auth": "histogram",
    "block_wait_for_transfer_store": "histogram",
    "block_wait_for_transfer_retrieve": "histogram",
    "block_wait_for_transfer_meta": "histogram",
    "block_wait_for_transfer_delete": "histogram",
    "block_s3_requests": "summary",
    "block_access_denied": "counter",
    "content_length_error": "counter",
    "block_auth_cache_hits": "counter",
    "block_auth_cache_sets": "counter",
    "block_traffic_response": "counter",
    "block_traffic_request": "counter",
    "block_traffic_by_request": "summary",
    "block_quota_by_request": "summary",
    "block_wait_database_connections": "counter",
    "websocket_connections": "gauge",
    "weboscket_connection_duration": "histogram",
    "websocket_connection_duration": "histogram",
    "websocket_messages": "counter",
    "pubsub_published": "counter",
    "pubsub_connections": "gauge",
}


class Client(FlaskClient):
    """Reads every answer to its end, as a client does that keeps its connection."""

    def open(self, *args: Any, **options: Any) -> TestResponse:
        return super().open(*args, buffered=True, **options)


def open_app(db: MeteorDatabase, **settings: Any) -> MeteorApp:
    chosen: dict[str, Any] = {
        "block_metrics_access": "open",
        "block_accounts": "dummy",
        "block_insecure": True,
    }
    chosen |= {"block_dummy_token": "MAGICFARYDUST"} | settings
    meteor_app = MeteorApp(db, Settings(**chosen))
    block_api.add_routes(meteor_app)
    meteor_app.app.test_client_class = Client
    return meteor_app


@pytest.fixture
def open_client(db: MeteorDatabase) -> Callable[..., FlaskClient]:
    return lambda **settings: open_app(db, **settings).app.test_client()


def samples(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def scraped(client: FlaskClient) -> dict[str, float]:
    return samples(client.get("/api/v0/metrics").text)


@pytest.mark.contract("C/metrics")
def test_names_are_those_that_were_published(open_client: Callable[..., FlaskClient]) -> None:
    text = open_client().get("/api/v0/metrics").text

    assert ANCESTORS.items() <= dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)).items()


@pytest.mark.contract(
    "K-171",
    "A.12/block_in_progress_requests",
    "A.12/block_response_time",
    "A.12/block_wait_for_transfer",
    "A.12/block_traffic_response",
    "A.12/block_traffic_by_request",
    "A.12/block_wait_database_connections",
    "A.12/figures",
)
def test_transfers_are_counted(open_client: Callable[..., FlaskClient]) -> None:
    client = open_client()
    client.post(f"{FILES}/p/a", data=b"12345", headers=DUMMY)
    client.get(f"{FILES}/p/a")
    client.get(f"{FILES}/p/a", headers={"Range": "bytes=0-1"})
    client.head(f"{FILES}/p/a")
    client.get(f"{FILES}/p/a", headers={"If-None-Match": "*"})
    client.delete(f"{FILES}/p/a", headers=DUMMY)

    found = scraped(client)

    assert found["block_in_progress_requests"] == 0
    assert found["block_response_time_count"] == 6
    assert (found["block_traffic_request"], found["block_traffic_response"]) == (5, 7)
    assert (found["block_traffic_by_request_count"], found["block_traffic_by_request_sum"]) == (2, 7)
    assert found['block_wait_for_transfer_store_count{backend="local"}'] == 1
    assert found['block_wait_for_transfer_retrieve_count{backend="local"}'] == 2
    assert found["block_prefixes"] == 1
    assert found['block_transfers_in_use{share="read"}'] == 0
    assert found["block_database_connections_in_use"] == 0
    assert found["block_wait_database_connections"] > 0
    assert found["pubsub_published"] == 2


@pytest.mark.contract("K-171", "A.12/block_quota_by_request")
def test_usage_and_what_is_held_are_counted(db: MeteorDatabase) -> None:
    add_users(db, "anna")
    account = signed_in("anna")
    client = open_app(db, block_accounts="local").app.test_client()
    prefix = client.post("/api/v0/prefix/", headers=account).json["prefix"]  # type: ignore[index]
    for content in (b"12345", b"12", b"12"):
        client.put(f"{FILES}/{prefix}/a", data=content, headers=account)

    found = scraped(client)

    assert found['block_quota_by_request_sum{type="increase"}'] == 5
    assert found['block_quota_by_request_sum{type="decrease"}'] == 3
    assert found['block_quota_by_request_count{type="decrease"}'] == 1
    assert (found["block_stored_objects"], found["block_stored_bytes"], found["block_held_bytes"]) == (
        1,
        2,
        7,
    )
    assert (found["block_accounts"], found["block_released_contents"]) == (1, 1)


@pytest.mark.contract("KD-19", "K-110", "A.12/block_access_denied", "A.12/content_length_error")
def test_reasons_are_codes_and_nothing_of_the_inside_is_shown(
    open_client: Callable[..., FlaskClient], db: MeteorDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_client(block_max_body_bytes=10)
    client.application.debug = True
    client.post(f"{FILES}/p/a", data=b"x" * 11, headers=DUMMY)
    client.post(f"{FILES}/p/a", data=b"x")
    client.get(f"{FILES}/p/secret-name")
    client.get(f"{FILES}/p/.hidden")

    def fail(*_: object) -> None:
        raise ZeroDivisionError("inside secret-name")

    monkeypatch.setattr("meteorpi_server.block_api.objects.checked_path", fail)
    broken = client.get(f"{FILES}/p/secret-name")
    text = client.get("/api/v0/metrics").text

    assert broken.status_code == 500
    assert "ZeroDivision" not in broken.text
    assert "inside" not in broken.text
    reasons = dict(re.findall(r'^block_access_denied{reason="(.*)"} (\d+)$', text, re.MULTILINE))
    assert reasons == {"too-large": "1", "not-authenticated": "1", "not-found": "2", "internal": "1"}
    assert set(reasons) <= set(problems.all_codes())
    assert samples(text)["content_length_error"] == 1
    assert "secret-name" not in text


@pytest.mark.contract("K-172", "K-500/block_metrics_access", "C/metrics")
def test_who_may_see_them_is_chosen(db: MeteorDatabase) -> None:
    for name, roles in (("boss", ["user", "camera_admin"]), ("anna", ["user"])):
        db.create_or_update_user(name, "pass word", roles)
    bearer = {
        name: {"Authorization": f"Bearer {db.create_api_token(name, 'x')[1]}"} for name in ("boss", "anna")
    }
    secret = {"Authorization": "Bearer wort-☄".encode().decode("latin-1")}
    admin = open_app(db, block_metrics_access="admin").app.test_client()
    secretive = open_app(db, block_metrics_access="secret", block_metrics_secret="wort-☄").app.test_client()

    by_role = [admin.get("/api/v0/metrics", headers=bearer[name]).status_code for name in ("boss", "anna")]
    by_secret = [
        secretive.get("/api/v0/metrics", headers=each).status_code for each in (secret, bearer["boss"])
    ]

    assert by_role == [200, 403]
    assert by_secret == [200, 403]
    assert [each.get("/api/v0/metrics").status_code for each in (admin, secretive)] == [403, 403]
    with pytest.raises(ConfigurationError, match="block_metrics_secret"):
        open_app(db, block_metrics_access="secret", block_metrics_secret="secret")


@pytest.mark.contract("K-172", "A.12/port", "K-500/block_metrics_port")
def test_processes_have_one_total_and_ports_of_their_own(db: MeteorDatabase, tmp_path: Path) -> None:
    port = free_port()
    first, second = (
        open_app(db, block_metrics_port=port, metrics_dir=str(tmp_path / "shared")) for _ in range(2)
    )
    client = first.app.test_client()
    client.post(f"{FILES}/p/a", data=b"12345", headers=DUMMY)
    second.app.test_client().post(f"{FILES}/p/b", data=b"123", headers=DUMMY)

    with first.upkeep, second.upkeep:
        texts = [requests.get(f"http://127.0.0.1:{port}/{path}", timeout=60).text for path in ("metrics", "")]
        other = requests.get(f"http://127.0.0.1:{port}/api/v0/quota", timeout=60)

    for text in [*texts, client.get("/api/v0/metrics").text]:
        found = samples(text)
        assert (found["block_traffic_request"], found["block_response_time_count"]) == (8, 2)
    assert other.status_code == 404
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/metrics", timeout=60)


@pytest.mark.contract("K-172")
def test_a_database_that_is_away_takes_its_figures_with_it_only(
    open_client: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise UnavailableError("the database is away")

    monkeypatch.setattr("meteorpi_db.blocks.register.BlockRegister.totals", fail)

    found = scraped(open_client())

    assert "block_stored_objects" not in found
    assert found["block_in_progress_requests"] == 0


@pytest.mark.contract(
    "K-171",
    "A.12/websocket_connections",
    "A.12/weboscket_connection_duration",
    "A.12/websocket_messages",
    "A.12/pubsub",
    "A.12/figures",
)
def test_sockets_uploads_and_what_is_cleared_away_are_counted(
    db: MeteorDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    meteor_app = open_app(db)
    client = meteor_app.app.test_client()
    with meteor_app.app.test_request_context("/api/v0/info"):
        service = current_service()
    service.events.figures.add(open_sockets=3, messages=4, open_streams=1, dropped=2)
    service.events.figures.socket_closed(5.0)
    monkeypatch.setattr("meteorpi_db.blocks.sweeping.sweep_released", lambda *_: 3)
    service.keep_up()
    tus = DUMMY | {"Tus-Resumable": "1.0.0", "Upload-Length": "9", "Upload-Metadata": "prefix cA==,path YQ=="}
    begun = client.post("/api/v0/uploads/", headers=tus)

    found = scraped(client)

    assert begun.status_code == 201
    assert (found["websocket_connections"], found["websocket_messages"], found["block_event_streams"]) == (
        2,
        4,
        1,
    )
    assert found["block_listeners_dropped"] == 2
    for name in ("weboscket_connection_duration", "websocket_connection_duration"):
        assert (found[f"{name}_count"], found[f"{name}_sum"]) == (1, 5.0)
        assert [found[f'{name}_bucket{{le="{bound}"}}'] for bound in ("1.0", "10.0", "+Inf")] == [0, 1, 1]
    assert found['block_swept{kind="contents"}'] == 3
    assert found["block_open_uploads"] == 1


class HalfDead(DummyAccounts):
    """Accounts of a server that has failed, and was helped out."""

    def check(self) -> None:
        raise AccountingUnavailableError("nobody can say")

    def counted(self) -> Counted:
        return Counted(hits=7, sets=4, stale=3, calls=2, call_seconds=1.5, call_buckets=[0] * 8 + [2] * 4)


@pytest.mark.contract("K-204", "A.12/block_wait_for_auth", "A.12/block_auth_cache")
def test_outdated_answers_about_accounts_are_seen(db: MeteorDatabase) -> None:
    meteor_app = MeteorApp(db, Settings(block_metrics_access="open"))
    block_api.add_routes(meteor_app, accounts=HalfDead("MAGICFARYDUST", is_allowed=True))
    client = meteor_app.app.test_client()

    ready = client.get("/api/v0/ready")
    found = scraped(client)

    assert ready.status_code == 503
    assert ready.json["checks"]["accounts"]["stale_answers"] == 3  # type: ignore[index]
    assert (found["block_auth_cache_hits"], found["block_auth_cache_sets"]) == (7, 4)
    assert found["block_stale_account_answers"] == 3
    assert (found["block_wait_for_auth_sum"], found["block_wait_for_auth_count"]) == (1.5, 2)


@pytest.mark.contract("K-171", "A.12/block_s3_requests")
def test_operations_on_s3_are_counted_in_one_number_too() -> None:
    metrics, others = BlockMetrics(MemoryTally(), "s3"), BlockMetrics(MemoryTally(), "memory")
    for each in (metrics, others):
        for kind in ("store", "retrieve", "meta", "delete"):
            each.operation(kind, 0.5)

    found, elsewhere = (samples("\n".join(each.figures.lines())) for each in (metrics, others))

    assert (found["block_s3_requests_count"], found["block_s3_requests_sum"]) == (4, 2.0)
    assert found['block_wait_for_transfer_delete_count{backend="s3"}'] == 1
    assert elsewhere["block_s3_requests_count"] == 0


@pytest.mark.contract("K-504", "K-114")
def test_each_request_has_a_line_of_the_log(
    open_client: Callable[..., FlaskClient], caplog: pytest.LogCaptureFixture
) -> None:
    client = open_client()
    with caplog.at_level(logging.INFO, "meteorpi.block.access"):
        client.post(f"{FILES}/p/a", data=b"12345", headers=DUMMY | {"X-Request-ID": "abc-1"})
        client.get(f"{FILES}/p/a")
        client.get(f"{FILES}/p/x%22y z")
        client.get("/api/v0/health")

    lines = [record for record in caplog.records if record.name == "meteorpi.block.access"]
    texts = [re.sub(r"(milliseconds=|404.*sent=)\d+", r"\1N", line.getMessage()) for line in lines]
    assert texts == [
        "request method=POST prefix=p path=a status=204 received=5 sent=0 milliseconds=N account=dummy:0",
        "request method=GET prefix=p path=a status=200 received=0 sent=5 milliseconds=N account=-",
        "request method=GET prefix=p path=x%22y%20z status=404 received=0 sent=N milliseconds=N account=-",
    ]
    assert lines[0].request_id == "abc-1"  # type: ignore[attr-defined]
