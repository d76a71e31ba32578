"""nchan, the module of nginx for channels: what is posted to one goes to all its subscribers.

    python -m bench.rivals.nchan LISTEN_PORT DIRECTORY

It is the configuration that is written here, as nchan's documentation would have it; then this process becomes nginx.
Subscribers come to `/` over WebSocket, a publisher posts to `/publish`.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

MODULE = "ngx_nchan_module.so"
BUFFERED = 10
"""Messages that a channel keeps for subscribers who come later: nchan's own default. They are in memory, as is what is
posted, up to client_body_buffer_size."""
MOST_CONNECTIONS = 1 << 16
_CONFIGURATION = """\
load_module {module};
daemon off;
worker_processes 1;
pid {directory}/pid;
error_log stderr warn;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_buffer_size 32k;
    client_body_temp_path {directory}/client_body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = / {{
            nchan_subscriber websocket;
            nchan_channel_id all;
        }}
        location = /publish {{
            nchan_publisher http;
            nchan_channel_id all;
            nchan_message_buffer_length {buffered};
        }}
    }}
}}
"""


class Program(NamedTuple):
    """What there is on this machine."""

    nginx: str
    module: Path
    version: str
    """Of both, for the report."""


def find(path: str | None = None) -> Program:
    """Look in `path` (default: PATH, and where the system's own programs are). Raises LookupError: what is missing."""
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin" if path is None else path)
    if nginx is None:
        raise LookupError("nginx is not here")
    said = subprocess.run([nginx, "-V"], capture_output=True, text=True, timeout=20).stderr
    modules = re.search(r"--modules-path=(\S+)", said)
    module = Path(modules[1] if modules else "/usr/lib/nginx/modules", MODULE)
    if not module.exists():
        raise LookupError(f"nginx is here without its module nchan ({module})")
    version = re.search(r"nginx/(\S+)", said)
    return Program(nginx, module, f"nginx {version[1] if version else '?'}, nchan {_packaged()}")


def _packaged() -> str:
    """The module's version; it says none itself, but Debian does."""
    try:
        asked = ["dpkg-query", "-W", "-f", "${source:Upstream-Version}", "libnginx-mod-nchan"]
        return subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout.strip() or "of its own"
    except OSError:
        return "of its own"


def main(port: int, directory: str) -> None:
    """Until killed."""
    program = find()
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    configuration = Path(directory, "nginx.conf")
    configuration.write_text(
        _CONFIGURATION.format(
            module=program.module, directory=directory, port=port, buffered=BUFFERED,
            connections=min(most, MOST_CONNECTIONS) if most > 0 else MOST_CONNECTIONS,
        ), encoding="utf-8",
    )  # fmt: skip
    os.execv(program.nginx, [program.nginx, "-c", str(configuration), "-e", "stderr"])


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
