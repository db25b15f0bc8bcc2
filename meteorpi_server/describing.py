"""What a view takes and gives, written beside it; the API description is made of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

Schema = str | list[str] | Mapping[str, Any]
"""Name of a wire document, a list with the name of one, or a JSON Schema."""

View = TypeVar("View", bound=Callable[..., Any])
_ATTRIBUTE: Final = "meteorpi_description"


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a view takes and gives.

    Attributes:
        reply: members of the JSON reply.
        body: members of the JSON body.
        body_document: name of the wire document that is the body.
        query: name of the search document whose members are query string parameters.
        path: name of the search document that is the last path segment.
        parameters: further parameters in the form of OpenAPI.
        content: the reply is bytes of some type, in ranges on demand.
        media_type: type of a reply that is neither JSON nor content of a file.
        problems: statuses of the problems that the view itself can answer with.
    """

    reply: Mapping[str, Schema] = field(default_factory=dict)
    body: Mapping[str, Schema] = field(default_factory=dict)
    body_document: str | None = None
    query: str | None = None
    path: str | None = None
    parameters: Sequence[Mapping[str, Any]] = ()
    content: bool = False
    media_type: str | None = None
    problems: Sequence[int] = ()


def describe(**members: Any) -> Callable[[View], View]:
    """Decorator for views: say what they take and give; arguments are those of `Description`."""
    description = Description(**members)

    def decorate(view: View) -> View:
        setattr(view, _ATTRIBUTE, description)
        return view

    return decorate


def description_of(view: Callable[..., Any]) -> Description:
    """What `view` says about itself."""
    found: Description = getattr(view, _ATTRIBUTE, Description())
    return found
