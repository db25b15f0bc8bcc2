"""How to mend what a web server does to requests, for each of those that a node is made for."""

from __future__ import annotations

from typing import Final

from meteorpi_server.cli.doctor.site import Reply

_REMEDIES: Final[dict[str, dict[str, str]]] = {
    "reach": {
        "apache": 'WSGIScriptAlias /api .../wsgi/apache.py/api, with url_path = "/api"',
        "lighttpd": '"check-local" => "disable" and "fix-root-scriptname" => "enable" in fastcgi.server',
        "nginx": "proxy_pass to the address of `meteorpi serve`, without a path behind it",
    },
    "version": {
        "apache": "ServerTokens Prod",
        "lighttpd": 'server.tag = ""',
        "nginx": "server_tokens off",
    },
    "problems": {
        "apache": "WSGIErrorOverride Off, or ProxyErrorOverride Off, and no ErrorDocument for these paths",
        "lighttpd": "no server.error-handler and no server.errorfile-prefix for these paths",
        "nginx": "proxy_intercept_errors off",
    },
    "authorization": {
        "apache": "WSGIPassAuthorization On",
        "lighttpd": "no auth.require for these paths",
        "nginx": "no proxy_set_header Authorization for these paths",
    },
    "chunked": {
        "apache": "WSGIChunkedRequest On",
        "lighttpd": "server.stream-request-body = 0",
        "nginx": "proxy_http_version 1.1",
    },
    "limit": {
        "apache": "LimitRequestBody of max_upload_bytes and 1 MiB more",
        "lighttpd": "server.max-request-size of max_upload_bytes and 1 MiB more, in KiB",
        "nginx": "client_max_body_size 0",
    },
    "slashes": {
        "apache": "AllowEncodedSlashes On",
        "lighttpd": '"url-path-2f-decode" => "disable" in server.http-parseopts',
        "nginx": "proxy_pass without a path behind the address",
    },
    "offload": {
        "apache": "mod_xsendfile with XSendFile On and XSendFilePath for the file store",
        "lighttpd": '"x-sendfile" => "enable" and "x-sendfile-docroot" in fastcgi.server',
        "nginx": "an internal location for the file store, as in wsgi/nginx.conf",
    },
    "ranges": {
        "apache": "no RequestHeader unset Range, and MaxRanges not none",
        "lighttpd": 'server.range-requests = "enable"',
        "nginx": "max_ranges not 0, no proxy_set_header Range, and no cache for these paths",
    },
}
_NAMES: Final = {"apache": "Apache", "lighttpd": "LigHTTPD", "nginx": "nginx"}


def remedy_for(topic: str, reply: Reply) -> str:
    """What to write into the configuration of the server that sent `reply`; of each when it has no name."""
    remedies = _REMEDIES[topic]
    known = [name for name in remedies if name in reply.server] or list(remedies)
    return "; ".join(f"{_NAMES[name]}: {remedies[name]}" for name in known)
