"""The one part of the build that pyproject.toml cannot say: the accelerator, which may fail to build without a word."""

import platform

from setuptools import Extension, setup

NATIVE = Extension("voltlane.wire.batch._native", ["voltlane/wire/batch/_native.c"], optional=True)

setup(ext_modules=[NATIVE] if platform.python_implementation() == "CPython" else [])
