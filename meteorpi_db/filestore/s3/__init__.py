"""Contents as objects of an S3-compatible service; needs the extra ``meteorpi[s3]``.

=========================  =================================================================
:mod:`.options`            what can be chosen, from a URL
:mod:`.bucket`             the requests, and nothing else that knows the client library
:mod:`.answers`            what a service says of objects, as values
:mod:`.failures`           what a service refuses, in the project's errors
:mod:`.fast_reading`       reading objects with a compiled client
:mod:`.reading`            a content on its way out, resumed where the connection breaks
:mod:`.writing`            a content on its way in, as one request or in parts
:mod:`.parts`              resumable writes
:mod:`.store`              the store made of these
=========================  =================================================================

Below the prefix of the store a content is the object ``<hex id>``. Names with a dot belong to the store:
``.facts/<hex id>`` (digests of a content that was written in parts), ``.parts/<hex id>/<offset>`` (bytes of a
resumable write) and ``.probe/`` (what a service can do).
"""

from meteorpi_db.filestore.s3.options import S3Options
from meteorpi_db.filestore.s3.store import S3FileStore

__all__ = ["S3FileStore", "S3Options"]
