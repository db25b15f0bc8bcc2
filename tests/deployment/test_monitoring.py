"""The alert rules and the dashboard of deploy/monitoring: correct, and about metrics that a node has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from meteorpi_db import MeteorDatabase
from meteorpi_db.facade.upkeep import BACKUP_MADE
from meteorpi_model import EventSearch, ExportConfiguration
from meteorpi_server.deployment import make_meteor_app
from meteorpi_server.settings import Settings
from tests.components import absent
from tests.system.replication import add_file, add_statuses

pytestmark = [pytest.mark.contract("issue-3.7/monitoring"), pytest.mark.engines("sqlite")]

MONITORING = Path(__file__).resolve().parent.parent.parent / "deploy" / "monitoring"
RULES = MONITORING / "meteorpi.rules.yaml"
RULE_TESTS = MONITORING / "meteorpi.rules.test.yaml"
DASHBOARD = MONITORING / "meteorpi.dashboard.json"
METRIC = re.compile(r"\bmeteorpi_\w+")


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        absent("promtool is not installed: apt-get install prometheus")
    return found


@pytest.fixture
def metrics(db: MeteorDatabase, tmp_path: Path) -> set[str]:
    """The names that a node gives which has recordings, an export that works, and a backup."""
    add_statuses(db)
    add_file(db, tmp_path, 1)
    search = EventSearch(limit=0)
    stored = db.create_or_update_export_configuration(
        ExportConfiguration("https://hub.example/import", "station", "secret", search, "all", "")
    )
    assert stored.config_id is not None
    db.record_export_success(stored.config_id)
    db.record_audit("console", BACKUP_MADE, str(tmp_path))
    client = make_meteor_app(db, Settings()).app.test_client()
    assert client.get("/health").status_code == 200
    text = client.get("/metrics").text
    return set(METRIC.findall(re.sub(r"^#.*$", "", text, flags=re.MULTILINE)))


def promql(dashboard: dict[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


@pytest.mark.parametrize("arguments", [["check", "rules", RULES], ["test", "rules", RULE_TESTS]], ids=str)
def test_prometheus_accepts_the_rules_and_they_fire_when_they_should(
    promtool: str, arguments: list[str | Path]
) -> None:
    done = subprocess.run([promtool, *arguments], check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried_both_ways() -> None:
    alerts = {
        rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    }
    cases = [
        case for each in yaml.safe_load(RULE_TESTS.read_text())["tests"] for case in each["alert_rule_test"]
    ]

    assert {case["alertname"] for case in cases if case["exp_alerts"]} == alerts
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == alerts


def test_metrics_of_the_rules_exist(metrics: set[str]) -> None:
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]

    used = {name for rule in rules for name in METRIC.findall(rule["expr"])}

    assert len(used) > 5
    assert used <= metrics


def test_dashboard_is_complete_and_its_metrics_exist(
    metrics: set[str], promtool: str, tmp_path: Path
) -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    places = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(set(places)) == len(places), "panels overlap"
    assert max(x for x, _ in places) < 24
    used = {name for expression in promql(dashboard) for name in METRIC.findall(expression)}
    assert len(used) > 8
    assert used <= metrics
    # Prometheus itself reads every expression, as that of a rule.
    queries = [target["expr"].replace("$instance", ".*") for panel in panels for target in panel["targets"]]
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(queries)]
    (tmp_path / "panels.yaml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(
        [promtool, "check", "rules", tmp_path / "panels.yaml"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.engines("sqlite", "firebird", "firebird-embedded", "postgresql")
def test_newest_file_of_each_camera_is_told(db: MeteorDatabase, tmp_path: Path) -> None:
    add_statuses(db)
    for minute, camera in ((5, "camera_north"), (9, "camera_north"), (7, "camera_south")):
        add_file(db, tmp_path, minute, camera_id=camera)

    assert db.get_newest_file_times() == {
        "camera_north": datetime(2015, 4, 1, 20, 9),
        "camera_south": datetime(2015, 4, 1, 20, 7),
    }
