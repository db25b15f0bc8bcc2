"""What this node offers: route packages and limits, as OpenAPI, and as a page to read offline."""

from __future__ import annotations

from typing import Final

from flask import Response, render_template, url_for
from flask.typing import ResponseReturnValue

from meteorpi_db import SOFTWARE_VERSION
from meteorpi_model import User
from meteorpi_server import openapi, problems
from meteorpi_server.app import current_meteor_app
from meteorpi_server.context import current_settings
from meteorpi_server.describing import describe
from meteorpi_server.listing import json_response
from meteorpi_server.node_api.routes import blueprint
from meteorpi_server.versions import software_version

PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
STYLE_SECONDS: Final = 3600

_OBJECT: Final = {"type": "object"}


@blueprint.get("/capabilities")
@describe(
    reply={
        "software": _OBJECT,
        "routes": {"type": "array", "items": _OBJECT},
        "limits": _OBJECT,
        "roles": {"type": "array", "items": {"type": "string"}},
        "problems": {"type": "array", "items": {"type": "string"}},
    }
)
def show_capabilities() -> ResponseReturnValue:
    """Show which route packages are attached, their versions, and the limits that apply."""
    meteor_app, settings = current_meteor_app(), current_settings()
    return json_response(
        {
            "software": {
                "name": "meteorpi",
                "version": software_version(),
                "record_version": SOFTWARE_VERSION,
                "schema_version": meteor_app.db.get_schema_version(),
            },
            "routes": [
                {"name": each.name, "url_path": each.url_path, "version": each.version}
                for each in meteor_app.attachments
            ],
            "limits": {
                "max_document_bytes": settings.max_document_bytes,
                "max_upload_bytes": settings.max_upload_bytes,
                "anonymous_limit": settings.anonymous_limit,
            },
            "roles": User.roles,
            "problems": problems.all_codes(),
        }
    )


@blueprint.get("/openapi.json")
@describe(media_type="application/json")
def show_openapi() -> ResponseReturnValue:
    """Show the description of every attached route, in the form of OpenAPI 3.1."""
    return json_response(_description())


@blueprint.get("/docs")
@describe(media_type="text/html")
def show_docs() -> ResponseReturnValue:
    """Show the description of every attached route as a page that needs nothing from elsewhere."""
    page = render_template(
        "meteorpi_docs.html",
        api=openapi.readable(_description()),
        style=url_for(".send_docs_style"),
        source=url_for(".show_openapi"),
    )
    headers = {"Content-Security-Policy": PAGE_POLICY, "Referrer-Policy": "no-referrer"}
    return Response(page, content_type="text/html; charset=utf-8", headers=headers)


@blueprint.get("/docs/style.css")
@describe(media_type="text/css")
def send_docs_style() -> ResponseReturnValue:
    """Send the style sheet of the page that describes the routes."""
    headers = {"Cache-Control": f"public, max-age={STYLE_SECONDS}"}
    return Response(render_template("meteorpi_docs.css"), content_type="text/css", headers=headers)


def _description() -> dict[str, object]:
    meteor_app = current_meteor_app()
    packages = {each.name: each for each in meteor_app.attachments}
    return openapi.describe_routes(meteor_app.app, packages)
