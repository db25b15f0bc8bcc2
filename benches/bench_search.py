"""How long a page of 100 takes in a node's database, and how that changes when the network grows.

Run by hand: ``python benches/bench_search.py [--engine sqlite] [--records 100000 1000000]``; one JSON line
for each case and size, and one for each case with the ratio of the medians, larger to smaller.

The larger database is the same network grown: for ten times the records five times the cameras and twice the
nights, as many files a night as before, three items of metadata a file. The questions stay those of one
observer: one camera's night, the files of one track, the small hours of three nights of a station. The cases
named ``whole`` ask over all that there is: their total count, which is part of every answer, grows with the
data by nature. They show that, and no aim is set for them.

Aim: ratio at most 1.5 for the cases that are not ``whole``.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Table, insert, text

from meteorpi_db import MeteorDatabase, tables
from meteorpi_db.migrations import SchemaEditor
from meteorpi_db.records.files import time_offset
from meteorpi_db.testing.servers import FirebirdServer, PostgresServer
from meteorpi_model import (
    CameraStatus,
    FileRecordSearch,
    Location,
    MetaConstraint,
    NSString,
    Orientation,
    utc_datetime_to_milliseconds,
)

SEED = 20150401
ENGINES = ("sqlite", "postgresql", "firebird", "firebird-embedded")
FILES_A_NIGHT = 200
FILES_A_TRACK = 150
SMALL_NETWORK = 100_000
SMALL_CAMERAS = 20
FIRST_NIGHT = datetime(2015, 4, 1, 18)
ROWS_AT_ONCE = 10_000
ROUNDS = 60
WARM_UP = 5
FEWEST_ROUNDS = 5
SLOW_MILLISECONDS = 300

Row = dict[str, Any]


@dataclass(frozen=True)
class Network:
    """How many cameras there are, and for how many nights they have run."""

    cameras: int
    nights: int

    @classmethod
    def of(cls, records: int) -> Network:
        """A network with about `records` files: cameras grow faster than nights."""
        growth = records / SMALL_NETWORK
        cameras = max(1, round(SMALL_CAMERAS * growth**0.7))
        return cls(cameras, max(1, round(records / FILES_A_NIGHT / cameras)))

    @property
    def records(self) -> int:
        """Number of files."""
        return self.cameras * self.nights * FILES_A_NIGHT

    def camera_id(self, number: int) -> str:
        """Id of one camera."""
        return f"camera{number:06d}"

    def place(self, number: int) -> tuple[float, float]:
        """Latitude and longitude of one camera: a grid of one degree."""
        return 30.0 + number % 40, -20.0 + number // 40


def rows_of(network: Network) -> Iterator[tuple[Row, list[Row]]]:
    """Every file with its metadata, in the order in which a network registers them: night by night."""
    chance = random.Random(SEED)
    pk = 0
    for night in range(network.nights):
        for number in range(FILES_A_NIGHT):
            for camera in range(network.cameras):
                pk += 1
                moment = FIRST_NIGHT + timedelta(days=night, seconds=180 * number + chance.randrange(180))
                yield file_row(pk, camera, network, moment, chance), meta_rows(pk, moment, chance)


def file_row(pk: int, camera: int, network: Network, moment: datetime, chance: random.Random) -> Row:
    """One row of `file_record`."""
    instant = utc_datetime_to_milliseconds(moment)
    return {
        "id": pk,
        "file_id": UUID(int=chance.getrandbits(128)),
        "camera_id": network.camera_id(camera),
        "file_time": instant,
        "time_offset": time_offset(instant),
        "status_pk": camera + 1,
        "mime_type": "image/png" if pk % 5 else "video/mp4",
        "semantic_type": "meteorpi:timelapse/frame" if pk % 5 else "meteorpi:triggers/event",
        "file_name": None,
        "file_size": 100_000,
        "md5": f"{pk:032x}",
        "sha256": f"{pk:064x}",
        "crc32": pk,
        "registered_at": instant,
        "imported_by": None,
        "imported_at": None,
        "verified_at": None,
        "is_corrupt": False,
    }


def meta_rows(pk: int, moment: datetime, chance: random.Random) -> list[Row]:
    """Three items: a measured number, a value that many share, and one that few do."""
    clarity, shower = round(chance.uniform(0, 100), 2), f"shower {chance.randrange(20)}"
    values: list[Row] = [
        {"meta_key": "meteorpi:skyClarity", "number_value": clarity},
        {"meta_key": "meteorpi:shower", "string_head": shower, "string_value": shower},
        {"meta_key": "meteorpi:track", "string_head": track(pk), "string_value": track(pk)},
    ]
    blank = {
        "owner_pk": pk,
        "entity_time": utc_datetime_to_milliseconds(moment),
        "is_repeat": False,
        "string_head": None,
        "string_value": None,
        "number_value": None,
        "is_integer": False,
        "date_value": None,
    }
    return [blank | value | {"position": position} for position, value in enumerate(values)]


def track(pk: int) -> str:
    """The value shared by `FILES_A_TRACK` files."""
    return f"track {pk // FILES_A_TRACK:07d}"


def load(db: MeteorDatabase, network: Network) -> None:
    """Fill an empty database, indices last."""
    filled = (tables.file_record, tables.file_meta)
    for camera in range(network.cameras):
        latitude, longitude = network.place(camera)
        status = CameraStatus("lens", "sensor", None, None, Orientation(), Location(latitude, longitude), "")
        db.update_camera_status(status, FIRST_NIGHT - timedelta(days=1), network.camera_id(camera))
    change_indices(db, filled, create=False)
    rows = rows_of(network)
    while chunk := list(islice(rows, ROWS_AT_ONCE)):
        db.transactions.write(partial(insert_chunk, chunk))
    change_indices(db, filled, create=True)
    db.refresh_statistics()


def insert_chunk(chunk: list[tuple[Row, list[Row]]], connection: Connection) -> None:
    """Write some files and their metadata."""
    connection.execute(insert(tables.file_record), [file for file, _ in chunk])
    connection.execute(insert(tables.file_meta), [item for _, items in chunk for item in items])


def change_indices(db: MeteorDatabase, filled: tuple[Table, ...], *, create: bool) -> None:
    """Create or drop every index of the filled tables that is not a key."""
    backend = db.transactions.backend
    with db.transactions.schema_connection() as connection:
        editor = SchemaEditor(connection, backend)
        for index in (index for table in filled for index in table.indexes):
            if create:
                editor.create_index(index)
                continue
            for name, _ in backend.index_statements(index):
                connection.execute(text(f"DROP INDEX {name}"))
        connection.commit()


def cases(network: Network) -> dict[str, FileRecordSearch]:
    """The questions, about the middle of the network."""
    camera, night = network.cameras // 2, network.nights // 2
    latitude, longitude = network.place(camera)
    evening = FIRST_NIGHT + timedelta(days=night)
    clarity, shower = NSString("skyClarity"), NSString("shower")
    box: Row = {
        "lat_min": latitude - 0.5,
        "lat_max": latitude + 0.5,
        "long_min": longitude - 0.5,
        "long_max": longitude + 0.5,
    }
    three_nights: Row = {"after": evening - timedelta(days=2), "before": evening + timedelta(days=1)}
    small_hours: Row = {"after_offset": 12 * 3600, "before_offset": 15 * 3600}
    rare = MetaConstraint("string_equals", NSString("track"), track(network.records // 2))
    common = MetaConstraint("string_equals", shower, "shower 7")
    clear = MetaConstraint("greater", clarity, 90)
    of_camera: Row = {"camera_ids": network.camera_id(camera)}
    of_night: Row = {"after": evening, "before": evening + timedelta(hours=12)}
    return {
        "camera and night": FileRecordSearch(**of_camera, **of_night),
        "camera and night, second page": FileRecordSearch(**of_camera, **of_night, skip=100),
        "metadata value": FileRecordSearch(meta_constraints=[rare]),
        "metadata value of a camera's night": FileRecordSearch(
            **of_camera, **of_night, meta_constraints=[common]
        ),
        "metadata limit of a camera's night": FileRecordSearch(
            **of_camera, **of_night, meta_constraints=[clear]
        ),
        "region and time of night": FileRecordSearch(**box, **three_nights, **small_hours),
        "whole: camera": FileRecordSearch(**of_camera),
        "whole: common metadata value": FileRecordSearch(meta_constraints=[common]),
        "whole: metadata limit": FileRecordSearch(meta_constraints=[clear]),
        "whole: region and time of night": FileRecordSearch(**box, **small_hours),
        "whole: newest": FileRecordSearch(),
    }


@dataclass
class Candidate:
    """One database, and how long each round of the present case took in it, in milliseconds."""

    network: Network
    db: MeteorDatabase
    taken: list[float] = field(default_factory=list)
    matches: int = 0

    def ask(self, search: FileRecordSearch, is_counted: bool) -> None:
        """One round."""
        began = time.perf_counter()
        self.matches = self.db.search_files(search)["count"]
        if is_counted:
            self.taken.append(1000 * (time.perf_counter() - began))

    @property
    def median(self) -> float:
        """Of the present case."""
        return median(self.taken)


def run(engine: str, candidates: list[Candidate]) -> None:
    """Measure every case. Rounds alternate between the sizes, so that a busy machine slows all alike."""
    asked = [cases(candidate.network) for candidate in candidates]
    for case in asked[0]:
        for candidate in candidates:
            candidate.taken.clear()
        for number in range(WARM_UP + ROUNDS):
            for candidate, searches in zip(candidates, asked, strict=True):
                candidate.ask(searches[case], is_counted=number >= WARM_UP)
            if number >= WARM_UP + FEWEST_ROUNDS and candidates[-1].median > SLOW_MILLISECONDS:
                break
        for candidate in candidates:
            p50, p95 = round(candidate.median, 2), round(quantiles(candidate.taken, n=20)[-1], 2)
            report(engine, candidate.network, case, matches=candidate.matches, p50_ms=p50, p95_ms=p95)
        ratio = round(candidates[-1].median / candidates[0].median, 2)
        print(json.dumps({"bench": "search", "engine": engine, "case": case, "ratio": ratio}), flush=True)


def report(engine: str, network: Network, case: str, **figures: object) -> None:
    """One JSON line."""
    print(
        json.dumps({"bench": "search", "engine": engine, "records": network.records, "case": case} | figures),
        flush=True,
    )


def open_databases(
    engine: str, directory: Path, sizes: list[int], stack: ExitStack
) -> Iterator[MeteorDatabase]:
    """A fresh database for each size."""
    server: FirebirdServer | PostgresServer | None = None
    if engine == "firebird":
        server = stack.enter_context(FirebirdServer())
    elif engine == "postgresql":
        server = stack.enter_context(PostgresServer())
    for size in sizes:
        name = f"bench{size}"
        if isinstance(server, FirebirdServer):
            path = server.dsn(name)
        elif isinstance(server, PostgresServer):
            server.create_database(name)
            path = server.url(name)
        else:
            path = str(directory / f"{name}{'.fdb' if engine == 'firebird-embedded' else '.db'}")
        MeteorDatabase.initialise(path)
        yield stack.enter_context(MeteorDatabase(path, directory / "files"))


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", action="append", choices=ENGINES, help="default: all; may be repeated")
    parser.add_argument("--records", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--directory", type=Path, help="where embedded databases are made")
    options = parser.parse_args()
    for engine in options.engine or ENGINES:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.directory)))
            databases = open_databases(engine, directory, options.records, stack)
            run(
                engine,
                [
                    load_one(engine, db, Network.of(size))
                    for db, size in zip(databases, options.records, strict=True)
                ],
            )


def load_one(engine: str, db: MeteorDatabase, network: Network) -> Candidate:
    """Fill one database, and say how long that took."""
    began = time.perf_counter()
    load(db, network)
    report(engine, network, "load", seconds=round(time.perf_counter() - began, 1))
    return Candidate(network, db)


if __name__ == "__main__":
    main()
