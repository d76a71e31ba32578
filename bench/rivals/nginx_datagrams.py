"""nginx as a proxy of datagrams: to the backend a socket of its own for each client, no tags, no stream.

    python -m bench.rivals.nginx_datagrams LISTEN_PORT MASTER_PORT DIRECTORY

It is the configuration that is written here; then this process becomes nginx. `proxy_responses` is left as it is, any
number: with another a session would end, and the next datagram make a new one.
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

_CONFIGURATION = """\
{load}daemon off;
worker_processes 1;
worker_rlimit_nofile {descriptors};
pid {directory}/pid;
error_log stderr warn;
events {{ worker_connections 131072; }}
stream {{
    server {{
        listen 127.0.0.1:{port} udp rcvbuf=4m sndbuf=4m;
        proxy_pass 127.0.0.1:{master};
        proxy_timeout 600s;
    }}
}}
"""


class Program(NamedTuple):
    """What there is on this machine."""

    nginx: str
    load: str
    """The line of the configuration that loads its module, if it is one of its own."""
    version: str


def find() -> Program:
    """Look in PATH, and where the system's own programs are. Raises LookupError: what is missing."""
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if nginx is None:
        raise LookupError("nginx is not here")
    said = subprocess.run([nginx, "-V"], capture_output=True, text=True, timeout=20).stderr
    modules = re.search(r"--modules-path=(\S+)", said)
    module = Path(modules[1] if modules else "/usr/lib/nginx/modules", "ngx_stream_module.so")
    if not module.exists() and not re.search(r"--with-stream(\s|$)", said):
        raise LookupError(f"nginx is here without its module stream ({module})")
    version = re.search(r"nginx/(\S+)", said)
    return Program(
        nginx, f"load_module {module};\n" if module.exists() else "", f"nginx {version[1] if version else '?'}"
    )


def main(port: int, master: int, directory: str) -> None:
    """Until killed."""
    program = find()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    configuration = Path(directory, "nginx.conf")
    configuration.write_text(
        _CONFIGURATION.format(
            load=program.load, directory=directory, port=port, master=master,
            descriptors=min(most, 1 << 16) if most > 0 else 1 << 16,
        ), encoding="utf-8",
    )  # fmt: skip
    os.execv(program.nginx, [program.nginx, "-c", str(configuration), "-e", "stderr"])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
