"""DEFLATE of contents: the fastest encoder there is, and whether it is worth using.

Photographs and video do not shrink: deflating them costs a core and gains nothing. What a content is called
says so nearly always; where it does not, a sample of it is deflated.

Source:
    Section 3.15 of the archive contract.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, Protocol

from meteorpi_server.archiving.stored_blocks import open_blocks

SAMPLE_BYTES: Final = 1 << 16
"""So much of a content of unknown type is deflated to see whether it shrinks: 64 KiB."""

_LEVEL: Final = 1
_WORTHWHILE: Final = 0.9  # a sample that shrinks less does not pay for the time, and for the length not known


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


@dataclass(frozen=True)
class Encoder:
    """Something that deflates.

    Attributes:
        identity: name, version and level: two that share it give the same bytes.
        start: begins a raw DEFLATE body.
    """

    identity: str
    start: Callable[[], _Compressor] = field(repr=False)

    def deflated(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The body of the content `chunks`."""
        compressor = self.start()
        for chunk in chunks:
            yield compressor.compress(chunk)
        yield compressor.flush()

    def deflated_if_smaller(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """A body of the content `chunks`; of stored blocks where its first 64 KiB do not shrink."""
        iterator = iter(chunks)
        held: list[bytes] = []
        size = 0
        for chunk in iterator:
            held.append(chunk)
            size += len(chunk)
            if size >= SAMPLE_BYTES:
                break
        content = chain(held, iterator)
        shrinks = self.does_shrink(b"".join(held)[:SAMPLE_BYTES])
        return self.deflated(content) if shrinks else open_blocks(content)

    def does_shrink(self, sample: bytes) -> bool:
        """Whether deflating something like `sample` is worth its time."""
        return sum(map(len, self.deflated((sample,)))) < _WORTHWHILE * len(sample)


def find_encoder() -> Encoder:
    """The fastest one that is installed, at its level 1."""
    try:
        import isal
        from isal import isal_zlib
    except ImportError:
        return Encoder(
            f"zlib {zlib.ZLIB_RUNTIME_VERSION} level {_LEVEL}",
            lambda: zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS),
        )
    return Encoder(
        f"isal {isal.__version__} level {_LEVEL}",
        lambda: isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, -zlib.MAX_WBITS),
    )


encoder: Final = find_encoder()
