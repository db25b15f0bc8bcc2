"""Reading an upload as a stream: whole ones come out as they went in, others are refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Request
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import RequestEntityTooLarge

from meteorpi_model.errors import IncompleteBodyError, InvalidDocumentError, MeteorError
from meteorpi_server.importer_api.upload import IncomingFile, incoming_file

HEAD = (
    b'--BOUND\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
    b"Content-Type: image/png\r\n\r\n"
)
TAIL = b"\r\n--BOUND--\r\n"


class Trickle(io.BytesIO):
    """A stream that gives at most seven bytes at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(7 if size is None or size < 0 else min(size, 7))


def request_of(
    body: bytes,
    *,
    announced: int | None = None,
    content_type: str = "multipart/form-data; boundary=BOUND",
    **environ: Any,
) -> Request:
    with Flask("test").test_request_context(
        method="POST",
        input_stream=environ.pop("stream", io.BytesIO(body)),
        content_type=content_type,
        content_length=len(body) if announced is None else announced,
        environ_overrides=environ,
    ) as context:
        return context.request


def upload_of(body: bytes, **options: Any) -> IncomingFile:
    return incoming_file(request_of(body, **options), "file")


def taken(body: bytes, **options: Any) -> bytes:
    upload = upload_of(body, **options)
    content = b"".join(upload)
    upload.finish()
    return content


@given(
    st.binary(max_size=3000) | st.lists(st.sampled_from([b"\r", b"\n", b"-", b"--BOUN", b"x"])).map(b"".join)
)
def test_content_comes_out_as_it_went_in(content: bytes) -> None:
    assert taken(HEAD + content + TAIL) == content


def test_bytes_that_trickle_in_make_the_same_content() -> None:
    body = HEAD + bytes(range(256)) * 20 + TAIL

    assert taken(body, stream=Trickle(body)) == bytes(range(256)) * 20


def test_name_and_type_of_the_part_are_known() -> None:
    upload = upload_of(HEAD + b"x" + TAIL)

    assert (upload.filename, upload.content_type) == ("file", "image/png")


def test_other_parts_are_passed_over() -> None:
    other = b'--BOUND\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
    after = b'\r\n--BOUND\r\nContent-Disposition: form-data; name="more"; filename="more"\r\n\r\nworld'

    assert taken(other + HEAD + b"content" + after + TAIL) == b"content"


@pytest.mark.contract("B-30", "faults/uploads")
@given(st.data())
def test_cut_off_body_is_never_taken_for_a_whole_one(data: st.DataObject) -> None:
    """Both for servers that notice (fewer bytes than announced) and for those that hide it."""
    body = HEAD + data.draw(st.binary(max_size=300)) + TAIL
    cut = data.draw(st.integers(0, len(body) - len(b"\r\n") - 1))
    announced = data.draw(st.sampled_from([len(body), cut]))

    with pytest.raises((IncompleteBodyError, InvalidDocumentError)):
        taken(body[:cut], announced=announced)


@pytest.mark.contract("B-30", "faults/uploads")
def test_cut_off_chunked_body_is_refused() -> None:
    body = HEAD + b"0123456789" + TAIL
    environ = {"wsgi.input_terminated": True, "CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}

    assert taken(body, **environ) == b"0123456789"
    with pytest.raises(IncompleteBodyError):
        taken(body[:-5], **environ)


@pytest.mark.contract("8.3/data", "faults/http-input")
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (TAIL, "multipart/form-data; boundary=BOUND"),
        (HEAD.replace(b'name="file"; ', b'name="other"; ') + TAIL, "multipart/form-data; boundary=BOUND"),
        (HEAD.replace(b'; filename="file"', b"") + TAIL, "multipart/form-data; boundary=BOUND"),
        (HEAD + TAIL, "multipart/form-data"),
        (HEAD + TAIL, "multipart/form-data; boundary=" + "x" * 71),
        (HEAD + TAIL, "multipart/form-data; boundary=\u017e"),
        (HEAD + TAIL, "application/octet-stream"),
        (b"--BOUND\r\nNo-Disposition: x\r\n\r\n" + TAIL, "multipart/form-data; boundary=BOUND"),
        (
            b'--BOUND\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n' + TAIL,
            "multipart/form-data; boundary=BOUND",
        ),
    ],
)
def test_form_without_the_file_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(InvalidDocumentError):
        taken(body, content_type=content_type)


@pytest.mark.contract("B-57")
def test_headers_that_never_end_are_refused() -> None:
    body = b"--BOUND\r\nX: " + b"y" * (6 << 20)

    with pytest.raises(RequestEntityTooLarge):
        taken(body)


@given(
    st.binary(max_size=500)
    | st.lists(st.sampled_from([HEAD, TAIL, b"--BOUND", b"\r\n", b"--", b"x"])).map(b"".join)
)
def test_no_body_breaks_the_reader(body: bytes) -> None:
    try:
        taken(body)
    except MeteorError:
        return


@pytest.mark.contract("9/receive_file_data")
def test_saving_writes_the_content_to_a_path_or_a_file(tmp_path: Path) -> None:
    upload_of(HEAD + b"content" + TAIL).save(tmp_path / "saved")
    with (tmp_path / "stream").open("wb") as stream:
        upload_of(HEAD + b"content" + TAIL).save(stream)

    assert (tmp_path / "saved").read_bytes() == (tmp_path / "stream").read_bytes() == b"content"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["saved", "stream"]


def test_saving_a_cut_off_upload_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(IncompleteBodyError):
        upload_of(HEAD + b"content", announced=500).save(tmp_path / "saved")

    assert list(tmp_path.iterdir()) == []


def test_finishing_reads_what_nobody_took() -> None:
    stream = io.BytesIO(HEAD + b"x" * 3_000_000 + TAIL)

    upload_of(stream.getvalue(), stream=stream).finish()

    assert stream.read() == b""
