"""Search results as streams."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_model.errors import UnavailableError
from meteorpi_model.values import JsonObject
from meteorpi_server import MeteorApp
from meteorpi_server.listing import Listing, stream_response

pytestmark = pytest.mark.engines("sqlite")


class Number:
    """A record that is as good as any other."""

    def __init__(self, number: int) -> None:
        self.number = number

    def as_dict(self) -> JsonObject:
        return {"number": self.number, "text": "x" * 100}


def listing(records: Iterator[Number]) -> Listing[Number]:
    columns = {"number": lambda document: document["number"]}
    return Listing(member="numbers", records=records, columns=columns, count=None, skip=3, links={})


@pytest.mark.contract("B-42", "issue-2.4/formats")
@pytest.mark.parametrize("name", ["json", "csv", "jsonl"])
def test_results_leave_while_others_are_still_to_be_read(db: MeteorDatabase, name: str) -> None:
    taken = 0

    def records() -> Iterator[Number]:
        nonlocal taken
        for taken in range(1, 100_001):
            yield Number(taken)

    with MeteorApp(db=db).app.test_request_context(f"/?format={name}"):
        pieces = stream_response(listing(records())).iter_encoded()
        first = next(iter(pieces))
        assert 0 < taken < 20_000
        rest = b"".join(pieces)

    assert taken == 100_000
    if name == "json":
        document = json.loads(first + rest)
        assert (len(document["numbers"]), document["count"]) == (100_000, 100_003)
    else:
        assert len((first + rest).splitlines()) == 100_000 + (name == "csv")


def test_what_fails_before_the_first_result_is_still_a_problem(db: MeteorDatabase) -> None:
    def records() -> Iterator[Number]:
        raise UnavailableError("the database is gone")
        yield Number(1)

    with MeteorApp(db=db).app.test_request_context("/"), pytest.raises(UnavailableError):
        stream_response(listing(records()))
