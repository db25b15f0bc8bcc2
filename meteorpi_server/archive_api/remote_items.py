"""URLs in archives: checked when a ticket is made, asked what they are, and fetched while they are sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from meteorpi_db.archives.clients import Rights
from meteorpi_server.archive_api.items import UrlItem
from meteorpi_server.archive_api.naming import PATH_LAYOUT
from meteorpi_server.archive_api.peer_facts import asking_peers
from meteorpi_server.archive_api.peers import Peers
from meteorpi_server.archive_api.refusals import RefusedRequestError
from meteorpi_server.archiving import Entry, Form, Plan
from meteorpi_server.archiving.entry_names import name_of_url
from meteorpi_server.archiving.plan import OnError
from meteorpi_server.archiving.prefetch import Prefetcher, wanted_of
from meteorpi_server.archiving.remote import Patience, RemoteSource
from meteorpi_server.archiving.sources import Source
from meteorpi_server.outbound import (
    AddressPolicy,
    AllowedSources,
    Location,
    Outbound,
    OutboundError,
    Reason,
    Request,
    Timeouts,
    UrlPrefix,
    transport_called,
)
from meteorpi_server.outbound.facts import Ask, Facts, ask_all
from meteorpi_server.settings import Settings

_REFUSALS: Final = frozenset({Reason.REFUSED_URL, Reason.REFUSED_ADDRESS, Reason.REFUSED_HEADER})
_STEPS: Final = re.compile(r"[/\\]")
_NOTHING_KNOWN: Final = Facts(size=None, validator=None, modified=None, name=None, content_type="")


@dataclass(frozen=True, kw_only=True)
class NumberedUrl:
    """A URL among the items of a request, and its place there."""

    index: int
    item: UrlItem


class RemoteItems:
    """What an application needs for URLs; opens nothing before it is asked.

    Args:
        settings: where requests may go, how long they may take, and how much is fetched ahead.
        peers: gives the addresses of the nodes that this one exports to, at present.

    Attributes:
        peers: the nodes that records came from.

    Raises:
        ConfigurationError: what is allowed cannot be read, or the transport is not installed.
    """

    def __init__(self, settings: Settings, peers: Callable[[], Iterable[str]]) -> None:
        self._settings = settings
        self._peers = peers
        self._make_transport = transport_called(settings.archive_transport)
        self.peers = Peers.parse(settings.archive_peers)
        self._fixed = [*settings.archive_allowed_sources, *self.peers.prefixes]
        self._policy = AddressPolicy(AllowedSources.parse(self._fixed))

    @property
    def outbound(self) -> Outbound:
        """Asks sources that somebody else named; which ones is decided anew each time this is read."""
        if self._settings.archive_allow_peers:
            peers = filter(None, map(_root, self._peers()))
            self._policy.allowed = AllowedSources.parse([*self._fixed, *peers])
        return self._client

    @cached_property
    def _client(self) -> Outbound:
        settings = self._settings
        timeouts = Timeouts(
            connect=settings.archive_connect_timeout,
            first_byte=settings.archive_first_byte_timeout,
            idle=settings.archive_idle_timeout,
            total=settings.archive_total_timeout,
        )
        return Outbound(
            self._make_transport(timeouts),
            self._policy,
            timeouts=timeouts,
            max_redirects=settings.archive_max_redirects,
        )

    @property
    def _source(self) -> RemoteSource:
        patience = Patience(
            retries=self._settings.archive_retries, total_seconds=self._settings.archive_total_timeout
        )
        return RemoteSource(self.outbound, patience)

    def entries(
        self, urls: Sequence[NumberedUrl], *, layout: str | None, on_error: OnError, now: int
    ) -> Iterator[Entry]:
        """The entries of `urls`, in their order; their names are not cleaned yet.

        Args:
            urls: what was asked for.
            layout: template of names; None for the usual one.
            on_error: what happens when one fails; only where that ends the archive are lengths fixed.
            now: time of an entry whose source says none, in seconds since 1970.

        Raises:
            RefusedRequestError: URLs or headers are refused; all of those are named.
        """
        outbound = self.outbound
        _raise_all(refusal for url in urls if (refusal := _refusal(outbound, url)))
        known = self._facts(outbound, urls)
        _raise_all((url, facts) for url, facts in known if isinstance(facts, OutboundError))
        for url, facts in known:
            assert isinstance(facts, Facts)
            yield _entry(url, facts, layout or PATH_LAYOUT, on_error, now)

    @contextmanager
    def opened_ahead(self, plan: Plan, sources: Mapping[str, Source]) -> Iterator[Mapping[str, Source]]:
        """`sources` and one for the URLs of `plan`, which is sent whole: a few are opened ahead."""
        settings = self._settings
        wanted = wanted_of(plan)
        if not wanted:
            yield sources
            return
        with Prefetcher(
            self._source, wanted, count=settings.archive_prefetch, held_bytes=settings.archive_prefetch_bytes
        ) as ahead:
            yield {**sources, "url": ahead}

    def with_source(self, plan: Plan, sources: Mapping[str, Source]) -> Mapping[str, Source]:
        """`sources` and one for the URLs of `plan`, of which nothing is opened ahead."""
        has_urls = any(entry.kind == "url" for entry in plan.entries)
        return {**sources, "url": self._source} if has_urls else sources

    @property
    def _way(self) -> Ask:
        roots = filter(None, map(_root, self._peers()))
        return asking_peers([*self.peers.base_urls.values(), *roots])

    def _facts(
        self, outbound: Outbound, urls: Sequence[NumberedUrl]
    ) -> list[tuple[NumberedUrl, Facts | OutboundError]]:
        """What the sources say, as far as they are asked; that one cannot be had now may change."""
        asked = urls if len(urls) <= self._settings.archive_preflight else ()
        requests = [Request(url=each.item.url, headers=each.item.headers) for each in asked]
        found = ask_all(outbound, requests, way=self._way) if requests else [_NOTHING_KNOWN] * len(urls)
        return [
            (each, facts if isinstance(facts, Facts) or facts.reason in _REFUSALS else _NOTHING_KNOWN)
            for each, facts in zip(urls, found, strict=True)
        ]


def _refusal(outbound: Outbound, url: NumberedUrl) -> tuple[NumberedUrl, OutboundError] | None:
    try:
        outbound.check(url.item.url, url.item.headers)
    except OutboundError as error:
        return url, error
    return None


def _root(url: str) -> str | None:
    """The server of `url`, all of it; None for what is no address."""
    try:
        location = Location.parse(url)
    except OutboundError:
        return None
    return f"{location.scheme}://{location.host_header}/"


def may_ask(rights: Rights, url: str) -> bool:
    """Whether a client may ask for `url`; whether its address may be dialled is looked at later."""
    return "url" in rights.selectors and (not rights.prefixes or is_below(url, rights.prefixes))


def is_below(url: str, prefixes: Iterable[str]) -> bool:
    """Whether `url` is on the server and below the path of one of `prefixes`, however it is spelled."""
    try:
        location = Location.parse(url)
        return any(UrlPrefix.parse(prefix).covers(location) for prefix in prefixes)
    except OutboundError:
        return False


def can_be_resumed(plan: Plan) -> bool:
    """Whether the sources of `plan` promise to be the same later, so that its bytes can be had again."""
    return all(entry.kind != "url" or "etag" in entry.details for entry in plan.entries)


def _raise_all(refused: Iterable[tuple[NumberedUrl, OutboundError]]) -> None:
    errors = {str(url.index): [error.detail] for url, error in refused}
    if errors:
        raise RefusedRequestError({"items": errors})


def _entry(url: NumberedUrl, facts: Facts, layout: str, on_error: OnError, now: int) -> Entry:
    is_fixed = facts.size is not None and on_error is OnError.ABORT
    crc = facts.crc32 if is_fixed else None
    details: dict[str, object] = {}
    if url.item.headers:
        details["headers"] = dict(url.item.headers)
    if facts.validator is not None:
        details["etag"] = facts.validator
    if facts.content_type:
        details["media_type"] = facts.content_type  # decides whether it is deflated
    return Entry(
        name=_path(url, facts, layout),
        kind="url",
        reference=url.item.url,
        size=facts.size,
        crc=crc,
        mtime=now if facts.modified is None else facts.modified,
        form=Form.STREAMED if not is_fixed else Form.BLOCKS if crc is None else Form.STORED,
        details=details,
    )


def _path(url: NumberedUrl, facts: Facts, layout: str) -> str:
    """The name of an entry; the path may have several components, all else makes no directories."""
    told = _STEPS.split(facts.name or "")[-1]
    name = url.item.name or told or name_of_url(url.item.url)
    values = dict.fromkeys(("camera", "date", "time", "type", "event", "id"), "")
    values |= {"name": name.replace("/", "_"), "path": url.item.path, "index": str(url.index)}
    return layout.format_map(values)
