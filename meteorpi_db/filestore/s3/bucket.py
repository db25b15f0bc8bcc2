"""The requests that an S3 store makes: the one module that speaks to the client library.

One client serves all threads of a process; clients may be shared, boto3's resource objects may not (S-135).
A process that was forked makes its own, since two must not share a connection.

Source: B.4 of the storage contract; the S3 API reference of 2006-03-01.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from botocore.exceptions import ClientError

from meteorpi_db.filestore.s3.answers import ListedObject, ObjectBody, ObjectFacts, OpenUpload
from meteorpi_db.filestore.s3.connecting import connect
from meteorpi_db.filestore.s3.failures import asking, code_of, status_of
from meteorpi_db.filestore.s3.options import S3Options
from meteorpi_model.errors import NotFoundError, UnavailableError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_MISSING = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchVersion"})
_TAKEN = frozenset({"412", "PreconditionFailed", "ConditionalRequestConflict", "409"})
_NOT_IMPLEMENTED = 501
_UNKNOWN_UPLOAD = frozenset({"NoSuchUpload"})
_BUCKET_SEEN_SECONDS = 10.0
"""How long an answer that the bucket is there is believed when a key is said to be missing."""


class TakenError(Exception):
    """There is an object under the key, and it was to be written only if there is none."""


class NoConditionsError(UnavailableError):
    """The service refuses to write on a condition, rather than to leave it out of account."""


class ForgottenUploadError(Exception):
    """The service does not know the upload: it was completed or aborted."""


class Bucket:
    """A bucket of a service.

    Args:
        options: which, and how to reach it.
    """

    def __init__(self, options: S3Options) -> None:
        self.options = options
        self._lock = threading.Lock()
        self._client: S3Client | None = None
        self._seen_at = -math.inf
        self._name = options.bucket
        self._own_uploads: set[str] = set()
        _alive.add(self)

    def head(self, key: str) -> ObjectFacts | None:
        """What is known of an object, None when there is none."""
        with asking("look for content"):
            try:
                found = self._connected().head_object(Bucket=self._name, Key=key)
            except ClientError as error:
                if code_of(error) in _MISSING:
                    self._require_bucket()
                    return None
                raise
        return ObjectFacts(
            size=found["ContentLength"],
            modified=_naive(found["LastModified"]),
            tag=found["ETag"],
            metadata={name.lower(): value for name, value in found["Metadata"].items()},
        )

    def get(
        self, key: str, start: int = 0, stop: int | None = None, tag: str | None = None
    ) -> ObjectBody | None:
        """The bytes of an object from `start` up to, not including, `stop`; None when it ends before that.

        Args:
            tag: give only the object that has it.

        Raises:
            NotFoundError: there is no such object.
            UnavailableError: among others, it is not the one with that tag any more.
        """
        request: dict[str, Any] = {"Bucket": self._name, "Key": key}
        if start or stop is not None:
            request["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        if tag is not None:
            request["IfMatch"] = tag
        with asking("read content"):
            try:
                found = self._connected().get_object(**request)
            except ClientError as error:
                if code_of(error) in _MISSING:
                    self._require_bucket()
                    raise NotFoundError("no content is held under this id") from error
                if code_of(error) == "InvalidRange" or status_of(error) == 416:
                    return None
                raise
        length, stated = found["ContentLength"], found.get("ContentRange")
        if stated is None:  # the whole object, whatever was asked for
            return ObjectBody(body=found["Body"], start=0, size=length, tag=found["ETag"])
        span, _, size = stated.removeprefix("bytes ").partition("/")
        return ObjectBody(
            body=found["Body"], start=int(span.partition("-")[0]), size=int(size), tag=found["ETag"]
        )

    def put(
        self,
        key: str,
        body: bytes | bytearray,
        metadata: Mapping[str, str],
        *,
        only_new: bool = False,
        md5: str | None = None,
    ) -> None:
        """Write an object in one request.

        Args:
            only_new: leave what is there; needs a service that honours the condition.
            md5: of the body, hexadecimal, where it is known.

        Raises:
            TakenError: there is one, and `only_new`.
            NoConditionsError: the service does not know `only_new`.
        """
        digest = _md5_header(body) if md5 is None else _base64(bytes.fromhex(md5))
        request: dict[str, Any] = {"Body": body, "ContentMD5": digest, "Metadata": dict(metadata)}
        if only_new:
            request["IfNoneMatch"] = "*"
        with asking("write content"):
            try:
                self._connected().put_object(Bucket=self._name, Key=key, **request, **self._kind())
            except ClientError as error:
                if only_new and code_of(error) in _TAKEN:
                    raise TakenError from error
                if only_new and status_of(error) == _NOT_IMPLEMENTED:
                    raise NoConditionsError(
                        "the S3 service writes without conditions: conditional=no"
                    ) from error
                raise

    def delete(self, key: str) -> None:
        """Remove an object; harmless when there is none."""
        with asking("remove content"):
            self._connected().delete_object(Bucket=self._name, Key=key)

    def listing(self, prefix: str, after: str = "", *, is_flat: bool = False) -> Iterator[ListedObject]:
        """Objects whose keys begin with `prefix`, in order of the bytes of their keys, lazily.

        Args:
            after: a key; leaves out those up to and including it.
            is_flat: leave out keys with a slash after the prefix.
        """
        request: dict[str, Any] = {"Bucket": self._name, "Prefix": prefix}
        if is_flat:
            request["Delimiter"] = "/"
        if after:
            request["StartAfter"] = after
        while True:
            with asking("list contents"):
                page = self._connected().list_objects_v2(**request)
            for each in page.get("Contents", ()):
                if each["Key"] > after:
                    yield ListedObject(
                        key=each["Key"], size=each["Size"], modified=_naive(each["LastModified"])
                    )
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def begin_upload(self, key: str, metadata: Mapping[str, str]) -> str:
        """Begin an upload in parts; gives the name of the service for it."""
        with asking("begin to write content"):
            found = self._connected().create_multipart_upload(
                Bucket=self._name, Key=key, Metadata=dict(metadata), **self._kind()
            )
        self._own_uploads.add(found["UploadId"])
        return found["UploadId"]

    def put_part(self, key: str, upload_id: str, number: int, body: bytes | bytearray) -> str:
        """Send a part; gives its tag, which :meth:`complete_upload` wants."""
        sent: dict[str, Any] = {"PartNumber": number, "Body": body, "ContentMD5": _md5_header(body)}
        with asking("write content"):
            found = self._connected().upload_part(Bucket=self._name, Key=key, UploadId=upload_id, **sent)
        return found["ETag"]

    def complete_upload(self, key: str, upload_id: str, tags: Mapping[int, str]) -> None:
        """Make an object of the parts.

        Args:
            tags: of the parts, by their numbers.

        Raises:
            ForgottenUploadError: there is no such upload; it may have been completed before.
        """
        parts: Any = [{"PartNumber": number, "ETag": tags[number]} for number in sorted(tags)]
        with asking("complete content"):
            try:
                self._connected().complete_multipart_upload(
                    Bucket=self._name, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}
                )
            except ClientError as error:
                if code_of(error) in _UNKNOWN_UPLOAD:
                    self._own_uploads.discard(upload_id)
                    raise ForgottenUploadError from error
                raise
        self._own_uploads.discard(upload_id)

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Forget an upload in parts; harmless when the service does not know it."""
        self._own_uploads.discard(upload_id)
        with asking("give up content"):
            try:
                self._connected().abort_multipart_upload(Bucket=self._name, Key=key, UploadId=upload_id)
            except ClientError as error:
                if code_of(error) not in _UNKNOWN_UPLOAD | _MISSING:
                    raise

    def uploads(self, prefix: str) -> Iterator[OpenUpload]:
        """Uploads in parts that were begun, neither completed nor aborted, lazily."""
        request: dict[str, Any] = {"Bucket": self._name, "Prefix": prefix}
        while True:
            with asking("list unfinished contents"):
                try:
                    page = self._connected().list_multipart_uploads(**request)
                except ClientError as error:
                    if code_of(error) in _UNKNOWN_UPLOAD:  # how one service says that there is none
                        return
                    raise
            for each in page.get("Uploads", ()):
                if each["Key"].startswith(prefix):
                    yield OpenUpload(
                        key=each["Key"], upload_id=each["UploadId"], begun=_naive(each["Initiated"])
                    )
            if not page.get("IsTruncated"):
                return
            request["KeyMarker"] = page["NextKeyMarker"]
            request["UploadIdMarker"] = page["NextUploadIdMarker"]

    def is_own_upload(self, upload: OpenUpload) -> bool:
        """Whether this process began the upload and is still at it."""
        return upload.upload_id in self._own_uploads

    def sent_parts(self, upload: OpenUpload) -> Iterator[tuple[int, datetime]]:
        """Size and time of each part that an unfinished upload has; nothing when it is gone."""
        request: dict[str, Any] = {"Bucket": self._name, "Key": upload.key, "UploadId": upload.upload_id}
        while True:
            with asking("list parts"):
                try:
                    page = self._connected().list_parts(**request)
                except ClientError as error:
                    if code_of(error) in _UNKNOWN_UPLOAD | _MISSING:
                        return
                    raise
            for each in page.get("Parts", ()):
                yield each["Size"], _naive(each["LastModified"])
            if not page.get("IsTruncated"):
                return
            request["PartNumberMarker"] = page["NextPartNumberMarker"]

    def presigned(self, key: str, method: str, expires_seconds: int, headers: Mapping[str, object]) -> str:
        """A URL that lets its holder make one request.

        Args:
            method: ``GET`` or ``PUT``.
            headers: of the answer to a GET, or of a PUT, by their names in the API; they are signed.
        """
        operation = {"GET": "get_object", "PUT": "put_object"}[method]
        parameters = {"Bucket": self._name, "Key": key, **headers}
        with asking("sign a URL"):
            return self._connected().generate_presigned_url(
                operation, Params=parameters, ExpiresIn=expires_seconds, HttpMethod=method
            )

    def remote_time(self) -> datetime | None:
        """What time it is by the clock of the service, naive UTC; None when it does not tell."""
        with asking("look for the bucket"):
            answer = self._connected().head_bucket(Bucket=self._name)
        stated = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        return None if stated is None else _naive(parsedate_to_datetime(stated))

    def check(self) -> None:
        """Return when the bucket is there and can be used.

        Raises:
            UnavailableError: it is not, or nobody answers.
        """
        with asking("look for the bucket"):
            try:
                self._connected().head_bucket(Bucket=self._name)
            except ClientError as error:
                if code_of(error) in _MISSING | {"NoSuchBucket"}:
                    raise UnavailableError(f"the S3 service has no bucket {self._name}") from error
                raise
        self._seen_at = time.monotonic()

    def _require_bucket(self) -> None:
        """A key is missing too when the bucket is: that must not be taken for a content that is not held."""
        if time.monotonic() - self._seen_at > _BUCKET_SEEN_SECONDS:
            self.check()

    def renew(self) -> None:
        """Begin anew in a process that was forked."""
        self._lock = threading.Lock()
        self._client = None
        self._own_uploads = set()

    def _connected(self) -> S3Client:
        client = self._client
        if client is None:
            with self._lock:
                client = self._client = self._client or connect(self.options)
        return client

    def _kind(self) -> dict[str, Any]:
        """How new objects are kept."""
        chosen = {
            "StorageClass": self.options.storage_class,
            "ServerSideEncryption": self.options.encryption,
            "SSEKMSKeyId": self.options.kms_key,
        }
        return {name: value for name, value in chosen.items() if value is not None}


def _md5_header(body: bytes | bytearray) -> str:
    return _base64(hashlib.md5(body, usedforsecurity=False).digest())


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode("ascii")


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


_alive: WeakSet[Bucket] = WeakSet()


def _renew_after_fork() -> None:
    for bucket in _alive:
        bucket.renew()


os.register_at_fork(after_in_child=_renew_after_fork)
