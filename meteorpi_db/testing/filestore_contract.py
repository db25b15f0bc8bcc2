"""The contract of file stores as tests that any implementation can run.

Subclass, give it a store, and let pytest collect it::

    class TestMyFileStore(FileStoreContract):
        @pytest.fixture
        def store(self, tmp_path):
            return MyFileStore(tmp_path)

        def reopen(self, store):
            return MyFileStore(store.root)

A rule that a store cannot keep is skipped with a reason: override the test and call ``pytest.skip`` in it.
The tests carry the marker ``contract``, which a suite of another project declares in its settings.
Needs pytest, which comes with ``pip install 'meteorpi[dev]'``; only the modules of this suite import it.

Source: S-101 of the storage contract.
"""

from __future__ import annotations

import pytest

# Before the import: plain asserts explain themselves only in modules that pytest knows of.
pytest.register_assert_rewrite(
    *(f"meteorpi_db.testing.filestore_contract_{part}" for part in ("contents", "files", "parts", "sharing"))
)

from meteorpi_db.testing.filestore_contract_contents import ContentsContract  # noqa: E402
from meteorpi_db.testing.filestore_contract_files import FilesContract  # noqa: E402
from meteorpi_db.testing.filestore_contract_parts import PartsContract  # noqa: E402
from meteorpi_db.testing.filestore_contract_sharing import SharingContract  # noqa: E402

__all__ = ["FileStoreContract"]


class FileStoreContract(ContentsContract, FilesContract, PartsContract, SharingContract):
    """Tests that every file store passes.

    The subclass has a fixture ``store``, prepared and empty, and overrides :meth:`reopen` when contents
    outlive the process.
    """
