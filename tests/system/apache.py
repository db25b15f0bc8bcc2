"""A private Apache with mod_wsgi in daemon mode, as an installation configures it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

from meteorpi_db.testing.processes import PrivateServer, find_program, process_tree
from meteorpi_model.errors import ConfigurationError, UnavailableError

MODULES = Path("/usr/lib/apache2/modules")
# `processes` is left out on purpose: written, even as 1, it makes wsgi.multiprocess true.
CONFIGURATION = """\
ServerRoot {directory}
PidFile {directory}/apache.pid
DefaultRuntimeDir {directory}
ErrorLog {directory}/error.log
ServerName localhost
Listen 127.0.0.1:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule wsgi_module {modules}/mod_wsgi.so
WSGISocketPrefix {directory}/wsgi
WSGIDaemonProcess meteorpi threads=4 python-home={environment} \\
    python-path={checkout} display-name=%{{GROUP}} home={directory}
WSGIProcessGroup meteorpi
WSGIApplicationGroup %{{GLOBAL}}
WSGIPassAuthorization On
WSGIChunkedRequest On
WSGIScriptAlias / {script}
WSGIImportScript {script} process-group=meteorpi application-group=%{{GLOBAL}}
<Directory {directory}>
    Require all granted
</Directory>
"""


class Apache(PrivateServer):
    """Apache that serves one WSGI script.

    Args:
        script: text of the script, which exposes `application`.
        checkout: a directory that the script can import from.

    Attributes:
        variables: the script's environment, beside what every server has; to be filled before the start.
    """

    name: ClassVar[str] = "apache"
    accounts: ClassVar[tuple[str, ...]] = ("www-data",)

    def __init__(self, script: str, checkout: Path) -> None:
        self._program = find_program("apache2", "apache2")
        if not (MODULES / "mod_wsgi.so").exists():
            raise ConfigurationError("mod_wsgi is missing: apt-get install libapache2-mod-wsgi-py3")
        self._script = script
        self.variables: dict[str, str] = {}
        self._checkout = checkout
        super().__init__()

    @property
    def configuration(self) -> Path:
        """The configuration file."""
        return self.directory / "apache.conf"

    def prepare(self) -> None:
        """Write the script and the configuration."""
        script = self.directory / "application.wsgi"
        script.write_text(self._script)
        text = CONFIGURATION.format(
            directory=self.directory,
            port=self.port,
            modules=MODULES,
            environment=sys.prefix,
            checkout=self._checkout,
            script=script,
        )
        self.configuration.write_text(text)

    def command(self) -> list[str]:
        """Apache in the foreground."""
        return [str(self._program), "-f", str(self.configuration), "-DFOREGROUND"]

    def application_process(self) -> int:
        """The id of the process that the application runs in, which Apache starts again when it ends."""
        for pid in process_tree(self.process.pid):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"(wsgi:meteorpi)"):
                return pid
        raise UnavailableError("mod_wsgi has no process at this moment")

    def environment(self) -> dict[str, str]:
        """The script sees what Apache sees: ``SetEnv`` is for requests."""
        return super().environment() | self.variables
