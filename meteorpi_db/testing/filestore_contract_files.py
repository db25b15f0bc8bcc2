"""Contract of file stores: local files on their way in and out."""

# The names of the tests say the behaviour, as everywhere.
# ruff: noqa: D102

from __future__ import annotations

import os
import stat
from pathlib import Path
from uuid import uuid4

import pytest

from meteorpi_db.filestore import FileStore
from meteorpi_db.testing.filestore_samples import (
    CONTENT,
    LARGE,
    StoreUnderTest,
    facts,
    read,
)
from meteorpi_model.errors import (
    ConflictError,
    DigestMismatchError,
    IncompleteBodyError,
    InvalidDocumentError,
    NotFoundError,
)


class FilesContract(StoreUnderTest):
    """A part of :class:`~meteorpi_db.testing.filestore_contract.FileStoreContract`."""

    @pytest.mark.contract("B.1/put_file")
    def test_put_file_moves(self, store: FileStore, tmp_path: Path) -> None:
        path, file_id = tmp_path / "capture", uuid4()
        path.write_bytes(LARGE)

        stored = store.put_file(file_id, path)

        assert not path.exists()
        assert read(store, file_id) == LARGE
        assert stored.sha256 == facts(LARGE).sha256

    @pytest.mark.contract("B.1/put_file")
    @pytest.mark.parametrize("may_link", [False, True])
    def test_put_file_without_moving_leaves_the_file(
        self, store: FileStore, tmp_path: Path, may_link: bool
    ) -> None:
        path, file_id = tmp_path / "capture", uuid4()
        path.write_bytes(CONTENT)

        store.put_file(file_id, path, move=False, may_link=may_link)

        assert path.read_bytes() == CONTENT
        assert read(store, file_id) == CONTENT

    @pytest.mark.contract("B.1/put_file", "S-151")
    @pytest.mark.parametrize("may_link", [False, True])
    def test_put_file_of_wrong_bytes_leaves_the_file(
        self, store: FileStore, tmp_path: Path, may_link: bool
    ) -> None:
        path, file_id = tmp_path / "capture", uuid4()
        path.write_bytes(CONTENT)
        kept = uuid4()
        store.put(kept, [b"other"])

        with pytest.raises(DigestMismatchError):
            store.put_file(file_id, path, may_link=may_link, digests={"md5": facts(b"other").md5})
        with pytest.raises(IncompleteBodyError):
            store.put_file(file_id, path, may_link=may_link, size=5)
        with pytest.raises(ConflictError):
            store.put_file(kept, path, may_link=may_link)

        assert path.read_bytes() == CONTENT
        assert list(store.ids()) == [kept]

    @pytest.mark.contract("B.1/put_file")
    def test_put_file_again_after_a_lost_answer_removes_the_file(
        self, store: FileStore, tmp_path: Path
    ) -> None:
        path, file_id = tmp_path / "capture", uuid4()
        path.write_bytes(CONTENT)
        store.put_file(file_id, path, move=False, may_link=True)

        store.put_file(file_id, path)

        assert not path.exists()
        assert read(store, file_id) == CONTENT

    @pytest.mark.contract("B.1/put_file")
    def test_put_file_of_what_is_no_file_is_refused(self, store: FileStore, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)

        with pytest.raises(NotFoundError):
            store.put_file(uuid4(), tmp_path / "nothing")
        with pytest.raises(InvalidDocumentError):
            store.put_file(uuid4(), tmp_path)
        with pytest.raises(InvalidDocumentError):
            store.put_file(uuid4(), pipe)

        assert stat.S_ISFIFO(pipe.stat().st_mode)
        assert list(store.ids()) == []

    @pytest.mark.contract("B.1/local_path")
    def test_local_path_can_be_read(self, store: FileStore) -> None:
        file_id = uuid4()
        store.put(file_id, [LARGE])

        with store.local_path(file_id) as path:
            assert path.read_bytes() == LARGE

        if "local-path" not in store.capabilities:
            assert not path.exists()
