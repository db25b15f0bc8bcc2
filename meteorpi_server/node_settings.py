"""The settings of a node but for archives and log: declared here, read by :mod:`meteorpi_server.settings`."""

from __future__ import annotations

from dataclasses import dataclass

from meteorpi_server.declarations import setting


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """Settings of a node; every one is a field of `Settings`, in this order."""

    db_path: str = setting(
        "sqlite:///meteorpi.db",
        "SQLAlchemy URL, Firebird DSN such as localhost:/path/x.fdb, or path of a file",
        heading="Database and file store",
    )
    db_user: str = setting("meteorpi", "account on a Firebird or PostgreSQL server")
    db_password: str = setting("", "password of db_user; embedded databases need none", is_secret=True)
    db_wait_seconds: int = setting(
        10, "longest wait for a connection to the database when all are in use, in seconds", minimum=1
    )
    file_store: str = setting("meteorpi-files", "directory, or URL, of the file store")
    installation_id: str = setting(
        "", "camera id of this node, 12 characters; empty: from the network hardware"
    )
    secret_key_file: str = setting(
        "", "file with the key that protects stored passwords; empty: beside the store"
    )

    host: str = setting("127.0.0.1", "address to listen on", heading="Serving")
    port: int = setting(12345, "TCP port to listen on; 0 takes any free one", maximum=65535)
    threads: int = setting(8, "requests handled at the same time", minimum=1)
    url_path: str = setting("", "path below which every route is served, such as /api")
    routes: tuple[str, ...] = setting(("admin", "importer", "query", "node"), "route packages to offer")
    trusted_proxy: str = setting(
        "", "address of the proxy whose X-Forwarded headers are believed; empty: none"
    )
    file_offload: str = setting(
        "",
        "header with which contents of files are left to a web server that offers to send them",
        choices=("", "x-sendfile", "x-accel-redirect"),
    )
    verify_reads: bool = setting(
        False, "compare the digest of each file that is sent whole; break off when it is damaged"
    )
    stop_seconds: int = setting(30, "longest wait for requests in flight when stopping, in seconds")
    release: str = setting("", "name of what is deployed, shown by /ready; set by meteorpi release")

    max_document_bytes: int = setting(
        8 * 2**20, "largest JSON body accepted, in bytes", minimum=1, heading="Limits"
    )
    max_upload_bytes: int = setting(2**30, "largest file accepted, in bytes", minimum=1)
    anonymous_limit: int = setting(
        100_000, "most results that one search gives to a caller without an account; 0: no ceiling"
    )
    cors_origins: tuple[str, ...] = setting(
        (), "origins whose pages may call the routes that need an account; * for any"
    )
    export_target_hosts: tuple[str, ...] = setting(
        (), "hosts that export configurations may push to; empty: any"
    )

    thumbnail_path: str = setting(
        "", "directory of kept thumbnails; empty: beside the file store", heading="Thumbnails"
    )
    thumbnail_cache_bytes: int = setting(256 * 2**20, "room for kept thumbnails, in bytes; 0 keeps none")
    thumbnail_max_pixels: int = setting(100_000_000, "largest picture that a thumbnail is made of, in pixels")

    export: bool = setting(False, "run the exporter inside the serving process", heading="Export")
    mark_interval_seconds: int = setting(300, "interval between export rounds, in seconds", minimum=1)
    max_failures_before_disable: int = setting(
        4, "consecutive failures that suspend an export configuration", minimum=1
    )
    defer_on_failure_seconds: int = setting(1800, "wait after a failed export, in seconds")

    keep_frames_days: int = setting(
        0,
        "days after which meteorpi prune deletes files that belong to no event; 0: never",
        heading="Retention",
    )
    keep_events_days: int = setting(0, "days after which it deletes events with their files; 0: never")
    keep_free_bytes: int = setting(
        0, "room that pruning keeps free in the file store, in bytes; 0: does not look"
    )
    prune_events_for_space: bool = setting(
        False, "let events go too when the oldest other files do not make enough room"
    )

    @property
    def named_release(self) -> dict[str, str]:
        """The member of ``/ready`` that names the release; none where nobody said which one runs."""
        return {"release": self.release} if self.release else {}
