"""The servers that a node may run under, each private to a test, configured by the samples of ``wsgi/``."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any, ClassVar

from meteorpi_db.testing.processes import LOOPBACK, find_program, free_port
from meteorpi_model.errors import ConfigurationError
from tests.components import absent
from tests.deployment.deployed import SCRIPTS, DeployedNode, is_checkout_open
from tests.deployment.samples import sample, without_block, without_lines

APACHE_MODULES = Path("/usr/lib/apache2/modules")
LIGHTTPD_MODULES = Path("/usr/lib/lighttpd")
# What Debian's own configuration of Apache brings, as far as the sample relies on it.
APACHE_FRAME = """\
ServerRoot {directory}
PidFile {directory}/apache.pid
DefaultRuntimeDir {directory}
ErrorLog {directory}/error.log
ServerName localhost
Listen {address}:{port}
{modules}
WSGISocketPrefix {directory}/wsgi
LogFormat "%h %l %u %t \\"%r\\" %>s %O" combined
<Directory />
    Require all denied
</Directory>
"""
APACHE_NAMES = ("mpm_event", "authz_core", "alias", "env", "reqtimeout", "wsgi", "xsendfile")
NGINX_FRAME = """\
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    default_type application/octet-stream;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/site.conf;
}}
"""


class WerkzeugNode(DeployedNode):
    """The development server of Flask, in a process of its own."""

    name: ClassVar[str] = "werkzeug"

    def command(self) -> list[str]:
        """The program that serves a WSGI script."""
        script = str(self.script or SCRIPTS / "apache.py")
        return [sys.executable, "-m", "tests.deployment.werkzeug_program", script, str(self.port)]

    def is_application(self, command: bytes) -> bool:
        """The one process there is."""
        return b"werkzeug_program" in command


class StandaloneNode(DeployedNode):
    """``meteorpi serve``."""

    name: ClassVar[str] = "standalone"

    def command(self) -> list[str]:
        """As a service runs it."""
        return [sys.executable, "-m", "meteorpi_server.cli", "serve", "--port", str(self.port)]

    def is_application(self, command: bytes) -> bool:
        """The one process there is."""
        return b"meteorpi_server.cli\0serve" in command


class GunicornNode(DeployedNode):
    """Gunicorn with threads, serving the script that is Apache's."""

    name: ClassVar[str] = "gunicorn"
    reload_signal: ClassVar[signal.Signals | None] = signal.SIGHUP

    def command(self) -> list[str]:
        """Gunicorn on the loopback interface."""
        script = self.script or SCRIPTS / "apache.py"
        return [
            *(sys.executable, "-m", "gunicorn", f"--bind={LOOPBACK}:{self.port}", "--worker-class=gthread"),
            *(f"--workers={self.processes_wanted}", f"--threads={self.threads}", "--no-control-socket"),
            *("--graceful-timeout=30", "--limit-request-line=0"),
            *(f"--pythonpath={script.parent}", f"{script.stem}:application"),
        ]

    def is_application(self, command: bytes) -> bool:
        """Every process but the first, which only watches over the others."""
        return b"gunicorn" in command

    def processes(self) -> list[int]:
        """See :meth:`DeployedNode.processes`."""
        first = self._process.pid if self._process else None
        return [pid for pid in super().processes() if pid != first]


class ApacheNode(DeployedNode):
    """Apache with mod_wsgi in daemon mode."""

    name: ClassVar[str] = "apache"
    reload_signal: ClassVar[signal.Signals | None] = signal.SIGUSR1

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._program = find_program("apache2", "apache2")
        for module in ("wsgi", "xsendfile"):
            if not (APACHE_MODULES / f"mod_{module}.so").exists():
                raise ConfigurationError(f"mod_{module} is missing: tools/system-packages apache")
        if not is_checkout_open() or sys.base_prefix != "/usr":
            absent(
                "Apache's account must be able to read the checkout, and mod_wsgi needs the system's Python"
            )
        super().__init__(*arguments, **options)
        self.redirect_port = free_port()

    def prepare(self) -> None:
        """Write the configuration."""
        super().prepare()
        names = (*APACHE_NAMES, *(("ssl", "socache_shmcb") if self.certificates else ()))
        modules = "\n".join(f"LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so" for name in names)
        frame = APACHE_FRAME.format(
            directory=self.directory, address=LOOPBACK, port=self.port, modules=modules
        )
        if self.certificates:
            frame += f"Listen {LOOPBACK}:{self.redirect_port}\n"
        (self.directory / "apache.conf").write_text(frame + self._site())

    def _site(self) -> str:
        text = sample(
            "apache.conf",
            {
                "user=meteorpi group=meteorpi": f"user={self.user} group={self.group}",
                "processes=2 threads=8": f"processes={self.processes_wanted} threads={self.threads}",
                "/opt/meteorpi/venv": sys.prefix,
                "/opt/meteorpi/wsgi/apache.py": str(self.script or SCRIPTS / "apache.py"),
                "/opt/meteorpi/wsgi": str(self.script.parent if self.script else SCRIPTS),
                "/var/lib/meteorpi/files": str(self.settings["file_store"]),
                "/var/lib/meteorpi": str(self.data),
                "*:443": f"*:{self.port}",
                "*:80": f"*:{self.redirect_port}",
            },
        )
        if self.certificates:
            for name in ("fullchain", "privkey"):
                text = text.replace(f"/etc/meteorpi/tls/{name}.pem", str(self.certificates.server))
            return text.replace("https://meteorpi.example.org/", f"https://{LOOPBACK}:{self.port}/")
        return without_lines(
            without_block(text, f"<VirtualHost *:{self.redirect_port}>", "</VirtualHost>"), "SSL"
        )

    def command(self) -> list[str]:
        """Apache in the foreground."""
        return [str(self._program), "-f", str(self.directory / "apache.conf"), "-DFOREGROUND"]

    def environment(self) -> dict[str, str]:
        """The script sees what Apache sees; Debian's envvars bring the directory of the logs."""
        return super().environment() | {"APACHE_LOG_DIR": str(self.directory)}

    def is_application(self, command: bytes) -> bool:
        """The processes of mod_wsgi."""
        return command.startswith(b"(wsgi:meteorpi)")


class LighttpdNode(DeployedNode):
    """LigHTTPD, which starts the FastCGI script itself."""

    name: ClassVar[str] = "lighttpd"
    # Lets requests in flight end; SIGTERM does not, and then the exit status is 1 now and then.
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT
    reload_signal: ClassVar[signal.Signals | None] = signal.SIGUSR1

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._program = find_program("lighttpd", "lighttpd")
        if not (LIGHTTPD_MODULES / "mod_openssl.so").exists():
            raise ConfigurationError("mod_openssl is missing: apt-get install lighttpd-mod-openssl")
        super().__init__(*arguments, **options)
        self.redirect_port = free_port()

    def prepare(self) -> None:
        """Write the configuration."""
        super().prepare()
        self.make_directory(self.data / "uploads")
        (self.directory / "lighttpd.conf").write_text(self._configuration())

    def _configuration(self) -> str:
        text = sample(
            "lighttpd.conf",
            {
                'username = "meteorpi"': f'username = "{self.user}"',
                'groupname = "meteorpi"': f'groupname = "{self.group}"',
                "/run/lighttpd.pid": f"{self.directory}/lighttpd.pid",
                'accesslog.use-syslog = "enable"': f'accesslog.filename = "{self.directory}/access.log"',
                "/opt/meteorpi/venv/bin/python": sys.executable,
                "/opt/meteorpi/wsgi/fastcgi.py": str(self.script or SCRIPTS / "fastcgi.py"),
                "/var/lib/meteorpi/files": str(self.settings["file_store"]),
                "/var/lib/meteorpi": str(self.data),
                "/var/www/html": str(self.directory),
                '"max-procs" => 2': f'"max-procs" => {self.processes_wanted}',
            },
        )
        text = f'server.bind = "{LOOPBACK}"\n' + text
        if self.certificates:
            for name in ("fullchain", "privkey"):
                text = text.replace(f"/etc/meteorpi/tls/{name}.pem", str(self.certificates.server))
            text = text.replace('socket"] == ":443"', f'socket"] == "{LOOPBACK}:{self.port}"')
            return text.replace("server.port = 80", f"server.port = {self.redirect_port}")
        for first_line in ('$HTTP["scheme"] == "http" {', '$SERVER["socket"] == ":443" {'):
            text = without_block(text, first_line, "}")
        return text.replace("server.port = 80", f"server.port = {self.port}")

    def command(self) -> list[str]:
        """LigHTTPD in the foreground."""
        return [str(self._program), "-D", "-f", str(self.directory / "lighttpd.conf")]

    def is_application(self, command: bytes) -> bool:
        """The programs that LigHTTPD starts."""
        return str(self.script or SCRIPTS / "fastcgi.py").encode() in command


class NginxNode(StandaloneNode):
    """The standalone server with nginx in front."""

    name: ClassVar[str] = "nginx"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._program = find_program("nginx", "nginx-light")
        super().__init__(*arguments, **options)
        self.redirect_port = free_port()
        self.settings |= {"trusted_proxy": LOOPBACK, "stop_seconds": 5}
        self.behind = _Behind(self)

    def prepare(self) -> None:
        """Write the configuration, and start what is behind."""
        super().prepare()
        (self.directory / "nginx.conf").write_text(NGINX_FRAME.format(directory=self.directory))
        (self.directory / "site.conf").write_text(self._site())
        self.behind.start()

    def _site(self) -> str:
        text = sample(
            "nginx.conf",
            {
                "127.0.0.1:12345": f"{LOOPBACK}:{self.behind.port}",
                "/var/lib/meteorpi/files": str(self.settings["file_store"]),
                "/var/www/html": str(self.directory),
                "listen 80;": f"listen {LOOPBACK}:{self.redirect_port};",
            },
        )
        if self.certificates:
            for name in ("fullchain", "privkey"):
                text = text.replace(f"/etc/meteorpi/tls/{name}.pem", str(self.certificates.server))
            text = text.replace("https://$host$", f"https://{LOOPBACK}:{self.port}$")
            return text.replace("listen 443 ssl;", f"listen {LOOPBACK}:{self.port} ssl;")
        text = without_lines(without_block(text, "server {", "}"), "ssl_")
        return text.replace("listen 443 ssl;", f"listen {LOOPBACK}:{self.port};")

    def command(self) -> list[str]:
        """Nginx in the foreground; without ``-e`` it would warn about a log that is not ours."""
        conf, log = str(self.directory / "nginx.conf"), str(self.directory / "error.log")
        return [str(self._program), "-p", str(self.directory), "-c", conf, "-e", log]

    def processes(self) -> list[int]:
        """Of what is behind."""
        return self.behind.processes()

    def reload(self) -> None:
        """Restart what is behind; nginx goes on."""
        self.behind.restart()

    def stop(self) -> None:
        """Stop both."""
        self.behind.stop()
        super().stop()

    def close(self) -> None:
        """Remove the directories of both, too."""
        self.behind.close()
        super().close()


class _Behind(StandaloneNode):
    """The standalone server behind another one, with the data and settings of that."""

    def __init__(self, front: NginxNode) -> None:
        super().__init__()
        self.settings = front.settings
        self.data = front.data

    def prepare(self) -> None:
        """The database is there."""
        self.write_settings()


SERVERS: dict[str, type[DeployedNode]] = {
    server.name: server for server in (WerkzeugNode, StandaloneNode, ApacheNode, LighttpdNode, GunicornNode)
}
"""The five servers that behave alike, by name."""
