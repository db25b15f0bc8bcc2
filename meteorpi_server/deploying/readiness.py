"""Whether what is served now is a certain release, and can do its work."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import requests

from meteorpi_model.errors import MeteorError

_ANSWER_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.2


def wait_until_ready(
    url: str,
    name: str,
    seconds: float,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Ask `url` until it answers 200 in the name of a release.

    The old release may answer for a while; what does not name one was not started as a release.

    Args:
        url: of ``/ready``.
        name: of the release.
        seconds: how long to go on asking.
        monotonic: a clock in seconds that only goes forward.
        sleep: waits so many seconds.

    Raises:
        MeteorError: it did not; the detail has what was answered last.
    """
    deadline = monotonic() + seconds
    while (answer := _ask(url, name)) is not None:
        if monotonic() >= deadline:
            raise MeteorError(f"{name} did not become ready within {seconds:g} s: {answer}")
        sleep(_PAUSE_SECONDS)


def _ask(url: str, name: str) -> str | None:
    """Why it is not ready; None when it is."""
    try:
        with requests.Session() as session:
            session.trust_env = False  # what is served here is not asked by way of a proxy
            answer = session.get(url, timeout=_ANSWER_SECONDS, allow_redirects=False)
        said = answer.json() if answer.ok else {}
    except requests.RequestException as error:
        return f"{url} does not answer as it should: {type(error).__name__}"
    if answer.status_code != requests.codes.ok:
        return f"{url} answers {answer.status_code}"
    release = said.get("release") if isinstance(said, dict) else None
    return None if release == name else f"{url} answers for {release or 'no release'}"
