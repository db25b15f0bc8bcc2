"""The settings of archives: declared here, read with the others by :mod:`meteorpi_server.settings`."""

from __future__ import annotations

from dataclasses import dataclass

from meteorpi_server.declarations import setting
from meteorpi_server.node_settings import NodeSettings


@dataclass(frozen=True, kw_only=True)
class ArchiveSettings(NodeSettings):
    """Settings of a node, and of the archives that it offers."""

    archive_storage_path: str = setting(
        "",
        "directory whose directories /archive/ offers, each behind its unguessable name; empty: none",
        heading="Archives",
    )
    archive_min_hash_length: int = setting(
        16, "shortest name of a directory that is offered; shorter ones in debug mode only", minimum=1
    )
    archive_include_hidden: bool = setting(False, "put files whose names begin with a dot into archives")
    archive_dir_prefix: bool = setting(
        False, "let the names in the archive of a directory begin with the name of the directory"
    )
    archive_dir_precompute: bool = setting(
        False, "read directories in which nothing changes any more before anybody asks for them"
    )
    archive_debug: bool = setting(False, "show the directories that are offered at /archive/; for tests only")
    archive_user_roles: tuple[str, ...] = setting(
        ("user",), "roles whose accounts may make archives of records; camera_admin may always"
    )
    archive_max_items: int = setting(10_000, "most items in a request for an archive", minimum=1)
    archive_max_entries: int = setting(200_000, "most entries in an archive", minimum=1)
    archive_max_bytes: int = setting(0, "largest archive, in bytes of its contents; 0: any")
    archive_max_request_bytes: int = setting(
        32 * 2**20, "largest request for an archive, in bytes", minimum=1
    )
    archive_ttl: int = setting(86_400, "how long a link is good that does not say it, in seconds", minimum=1)
    archive_max_ttl: int = setting(30 * 86_400, "longest time that a link may be good, in seconds", minimum=1)
    archive_resume_grace: int = setting(
        3600, "how long a download for once can be gone on with after its end, in seconds"
    )
    archive_max_active: int = setting(
        0, "archives sent at the same time by one process; 0: two less than there are threads, at least 1"
    )
    archive_no_queue: bool = setting(
        True, "let links be downloaded at once; false: in turn, after waiting in a queue of all processes"
    )
    archive_simultaneous_downloads_limit: int = setting(
        2, "archives sent at the same time by all processes, where there is a queue", minimum=1
    )
    archive_slot_lease: int = setting(
        30, "how long a link whose turn has come waits for its download, in seconds", minimum=1
    )
    archive_wait_ping: int = setting(
        20, "longest time without a sign of life of a waiter, in seconds", minimum=1
    )
    archive_wait_timeout: int = setting(3600, "longest wait over one connection, in seconds", minimum=1)
    archive_chunk_size: int = setting(
        256 * 2**10, "largest piece of an archive that is handed on at once, in bytes", minimum=1024
    )
    archive_delay: float = setting(
        0.0, "time for each of these pieces, in seconds, which makes a rate for each archive; 0: none"
    )
    archive_rate_download: int = setting(0, "most that is sent of one archive, in bytes a second; 0: any")
    archive_rate_client: int = setting(
        0, "most that is sent to who made the links, all of them together, in bytes a second; 0: any"
    )
    archive_rate_total: int = setting(
        0, "most that is sent of all archives by all processes, in bytes a second; 0: any"
    )
    archive_send_timeout: int = setting(
        120, "after so long a reader that takes nothing is dropped, in seconds", minimum=1
    )
    archive_shutdown_grace: int = setting(
        20, "how long archives are sent on when the server has to stop, in seconds"
    )
    archive_stream_require_exp: bool = setting(
        False, "refuse signed links that do not say until when they are good"
    )
    archive_jwt_algorithm: str = setting(
        "HS256", "how links are signed, whatever a link says of itself", choices=("HS256",)
    )
    archive_cors_origins: tuple[str, ...] = setting(
        (), "origins whose pages may call the archive routes, beside those that may call all; * for any"
    )
    archive_allowed_sources: tuple[str, ...] = setting(
        (),
        "what archives may be fetched from beside public addresses: URL prefixes, hosts, networks, each with "
        "its port unless that is 80 or 443; with the word only: nothing else",
    )
    archive_allow_peers: bool = setting(
        False, "let archives be fetched from the nodes that this one exports to, too"
    )
    archive_peers: tuple[str, ...] = setting(
        (),
        "nodes that records came from, each as ACCOUNT=URL with the account that brings them; an archive may "
        "take contents from there that are not here",
    )
    archive_transport: str = setting(
        "auto",
        "what makes the requests to sources, with the same result; auto is the quickest that is installed",
        choices=("auto", "requests-like", "httpx-like"),
    )
    archive_max_redirects: int = setting(5, "redirects of a source that are followed")
    archive_connect_timeout: int = setting(
        10, "longest wait for a connection to a source, in seconds", minimum=1
    )
    archive_first_byte_timeout: int = setting(
        30, "longest wait for the answer of a source, in seconds", minimum=1
    )
    archive_idle_timeout: int = setting(
        60, "longest silence of a source in its middle, in seconds", minimum=1
    )
    archive_total_timeout: int = setting(
        21_600, "longest time that one source may take, in seconds", minimum=1
    )
    archive_retries: int = setting(3, "how often a source that failed is asked again")
    archive_prefetch: int = setting(4, "sources that are opened ahead of the one that is sent")
    archive_prefetch_bytes: int = setting(
        2**20, "most that is fetched of each source that is opened ahead, in bytes", minimum=1
    )
    archive_offload: str = setting(
        "",
        "who sends what links lead to: sendfile (the kernel) and x-accel (the web server) single files, "
        "mod_zip (nginx with that module) archives; without it the node, which looks at every byte",
        choices=("", "sendfile", "x-accel", "mod_zip"),
    )
    archive_offload_prefix: str = setting(
        "/_meteorpi_files", "address of the contents for the web server itself, in front of their paths"
    )
    archive_verify_interval: int = setting(
        30, "what was not verified for so long is sent by the node itself, in days", minimum=1
    )
    archive_preflight: int = setting(
        1000, "most URLs of a request that are asked for their length when a link is made; 0: never"
    )
