"""Stores by URL: what opens what, what is refused, and what is never shown."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meteorpi_db.filestore import (
    FallbackFileStore,
    LocalFileStore,
    MemoryFileStore,
    open_file_store,
    shown_location,
)
from meteorpi_db.filestore.s3 import S3FileStore, S3Options
from meteorpi_db.testing.filestore_samples import CONTENT, read
from meteorpi_model.errors import ConfigurationError, InvalidDocumentError


def local(location: str | Path) -> LocalFileStore:
    store = open_file_store(location)
    assert isinstance(store, LocalFileStore)
    return store


@pytest.mark.contract("B.2/local")
@pytest.mark.parametrize("name", ["store", "with space", "füße", "a%20b", "a?b#c", "c:", "s3:", "-x"])
def test_plain_path_is_a_flat_directory(tmp_path: Path, name: str) -> None:
    for location in (tmp_path / name, str(tmp_path / name)):
        store = local(location)

        assert (store.root, store.layout.name, store.disk.durability) == (tmp_path / name, "flat", "full")


@pytest.mark.contract("B.2/local")
def test_relative_path_is_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    store = local("some/store")
    monkeypatch.chdir("/")

    assert store.root == tmp_path / "some" / "store"


@pytest.mark.contract("B.2/local")
def test_file_url_takes_options() -> None:
    store = local("file:///a%20b/c?layout=tree&durability=data&mode=0600&dir_mode=700&min_free=1000000")

    assert store.root == Path("/a b/c")
    assert store.layout.name == "tree"
    assert store.disk.durability == "data"
    assert (store.disk.file_mode, store.disk.directory_mode) == (0o600, 0o700)
    assert store.disk.min_free_bytes == 1_000_000


@pytest.mark.contract("B.2/memory")
def test_memory_url_takes_a_limit() -> None:
    stores = [open_file_store("memory:"), open_file_store("memory:?limit=10")]

    assert [store.free_bytes() for store in stores] == [None, 10]
    assert all(isinstance(store, MemoryFileStore) for store in stores)
    assert not any("persistent" in store.capabilities for store in stores)


@pytest.mark.contract("B.2/s3")
def test_s3_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "meteorpi_db.filestore.s3", None)

    with pytest.raises(ConfigurationError, match=r"meteorpi\[s3\]"):
        open_file_store("s3://bucket/prefix?endpoint=https://example.org&region=x")


@pytest.mark.contract("B.2/s3", "S-130", "S-112")
def test_s3_url_takes_options() -> None:
    store = open_file_store(
        "s3://key:se%2Fcret@bucket/a/b%20c/?endpoint=https://example.org:9000&region=x&part_size=6000000"
        "&storage_class=COLD&attempts=2&conditional=no&addressing=virtual"
    )

    assert isinstance(store, S3FileStore)
    assert store.options == S3Options(
        bucket="bucket",
        prefix="a/b c",
        endpoint="https://example.org:9000",
        region="x",
        part_size=6_000_000,
        storage_class="COLD",
        attempts=2,
        conditional="no",
        addressing="virtual",
        access_key="key",
        secret_key="se/cret",
    )
    for shown in (store.location, repr(store), repr(store.options)):
        assert "cret" not in shown
    again = open_file_store(store.location)
    assert isinstance(again, S3FileStore)
    assert again.options == replace(store.options, access_key=None, secret_key=None)


@pytest.mark.contract("S-130")
def test_s3_credentials_come_from_a_file_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "keys"
    path.write_text("[station]\naws_access_key_id = OURS\naws_secret_access_key = secret\n")

    store = open_file_store(f"s3://bucket?credentials={path}&profile=station&region=x")

    url = store.url(uuid4())
    assert url is not None
    assert "Credential=OURS" in url


@pytest.mark.contract("B.2/local", "B.2/memory")
@pytest.mark.parametrize(
    "location",
    [
        "",
        "a\0b",
        "file://host/path",
        "file:relative",
        "file:///p?layout=round",
        "file:///p?durability=maybe",
        "file:///p?mode=999",
        "file:///p?min_free=much",
        "file:///p?min_free=-1",
        "file:///p?colour=red",
        "file:///p?layout=flat&layout=tree",
        "memory:name",
        "memory://name",
        "memory:?limit=few",
        "memory:?limit=-5",
        "ftp://host/path",
        "s3:",
        "s3:///prefix",
        "s3://bucket?part_size=1000",
        "s3://bucket?attempts=0",
        "s3://bucket?conditional=maybe",
        "s3://bucket?addressing=any",
        "s3://bucket?encryption=rot13",
        "s3://bucket?credentials=/nowhere/at/all",
        "s3://bucket?colour=red",
        "file:///p?fallback=ftp://host/path",
    ],
)
def test_location_that_cannot_be_read_is_refused(location: str) -> None:
    with pytest.raises(InvalidDocumentError):
        open_file_store(location)


@pytest.mark.contract("S-111")
def test_fallback_holds_what_was_stored_before(tmp_path: Path) -> None:
    old = local(tmp_path / "old")
    old.prepare()
    ids = sorted(uuid4() for _ in range(6))
    for file_id in ids[:4]:
        old.put(file_id, [CONTENT])
    old_url = old.location.replace("&", "%26")
    store = open_file_store(f"file://{tmp_path}/new?layout=tree&fallback={old_url}")
    store.prepare()
    assert isinstance(store, FallbackFileStore)

    for file_id in ids[3:]:
        store.put(file_id, [CONTENT])
    store.primary.put(ids[0], [CONTENT])

    assert list(store.ids()) == ids
    assert list(store.ids(after=ids[1])) == ids[2:]
    assert list(store.primary.ids()) == [ids[0], *ids[4:]]
    assert [read(store, file_id, 3, 9) for file_id in ids] == [CONTENT[3:9]] * 6
    assert store.digests_of(ids[1]) == store.digests_of(ids[5])
    with store.local_path(ids[1]) as path:
        assert path == old.layout.path(ids[1])
    assert all(store.delete(file_id) for file_id in ids)
    assert list(old.ids()) == list(store.primary.ids()) == []


@pytest.mark.contract("S-112")
@pytest.mark.parametrize(
    "location",
    [
        "s3://user:hunter2@bucket/p?colour=red",
        "s3://bucket/p?secret=hunter2&region=eu",
        "ftp://user:hunter2@host/p?token=hunter2",
        "file:///p?fallback=s4%3A%2F%2Fuser%3Ahunter2%40bucket",
        "file:///p?key=hunter2",
        "file://user:hunter2@host/p",
        "memory:?limit=5&password=hunter2",
        "s4://[hunter2",
    ],
)
def test_credentials_are_never_shown(location: str) -> None:
    with pytest.raises((InvalidDocumentError, ConfigurationError)) as caught:
        open_file_store(location)

    shown = [str(caught.value), caught.value.detail]
    assert not any("hunter2" in text for text in shown)


@pytest.mark.contract("S-112")
@given(st.text(min_size=3, alphabet="abcdefghijklmnopqrstuvwxyz0123456789"))
def test_shown_location_keeps_only_what_is_known_to_be_harmless(secret: str) -> None:
    secret = f"secret-{secret}"

    shown = shown_location(f"s3://user:{secret}@bucket/prefix?region=eu&key={secret}#{secret}")

    assert shown == "s3://bucket/prefix?region=eu"


@pytest.mark.contract("S-112")
def test_location_of_a_store_opens_it_again(tmp_path: Path) -> None:
    for location in (f"file://{tmp_path}/a%20b?layout=tree&durability=none", "memory:?limit=5", "memory:"):
        store = open_file_store(location)

        assert open_file_store(store.location).location == store.location
        assert store.location in repr(store)
