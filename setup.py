"""What pyproject.toml cannot say of the build: the accelerators, each of which may fail to build without a word."""

import platform

from setuptools import Extension, setup

UDP = "voltlane/net/udp"
NATIVE = [
    Extension("voltlane.wire.batch._native", ["voltlane/wire/batch/_native.c"], optional=True),
    Extension(
        "voltlane.net.udp._native",
        [f"{UDP}/_{name}.c" for name in ("native", "table", "batch", "peers", "channels")],
        depends=[f"{UDP}/_native.h"],
        optional=True,
    ),
]

setup(ext_modules=NATIVE if platform.python_implementation() == "CPython" else [])
