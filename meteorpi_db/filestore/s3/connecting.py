"""A client of the library, as the options of a store ask for it.

Checksums that newer versions of the library add on their own are off unless asked for: many services refuse
or mishandle them (S-131). What protects the bytes is ``Content-MD5`` on the way in, and the digests kept with
each content.

Source: S-130, S-131 and S-136 of the storage contract.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import boto3
import botocore.session
from botocore.client import Config
from botocore.loaders import Loader, create_loader

from meteorpi_db.filestore.s3.options import S3Options

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


def open_session(options: S3Options) -> boto3.session.Session:
    """What is known of the account: its keys, or where they are, and the region."""
    core = botocore.session.Session(profile=options.profile)
    if options.credentials is not None:
        core.set_config_variable("credentials_file", options.credentials)
    core.register_component("data_loader", _descriptions(core.get_config_variable("data_path")))
    return boto3.session.Session(
        aws_access_key_id=options.access_key,
        aws_secret_access_key=options.secret_key,
        region_name=options.region,
        botocore_session=core,
    )


def connect(options: S3Options) -> S3Client:
    """A client with connections of its own; none is opened before the first request."""
    session = open_session(options)
    config = Config(
        connect_timeout=options.connect_timeout,
        read_timeout=options.read_timeout,
        retries={"mode": "standard", "total_max_attempts": options.attempts},
        max_pool_connections=options.pool,
        s3={"addressing_style": "path" if options.is_path_style else options.addressing},
        request_checksum_calculation=options.checksums,
        response_checksum_validation=options.checksums,
        signature_version="s3v4",
    )
    return session.client(
        "s3",
        region_name=session.region_name or "us-east-1",
        endpoint_url=options.endpoint,
        verify=options.ca,
        config=config,
    )


@lru_cache
def _descriptions(data_path: str | None) -> Loader:
    """The library's descriptions of services, read once in a process.

    Reading them is six sevenths of the time that a client takes to make (50 ms); the library itself shares
    them between the clients of one of its sessions.
    """
    return create_loader(data_path)
