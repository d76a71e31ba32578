"""The models of version 3: that what their page names is there, and, where spin is, that the small sizes hold."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

MODELS = Path(__file__).parent.parent / "docs" / "model"
CHECK = MODELS / "check"


def seeded() -> set[str]:
    """The mistakes that the models have."""
    return {name for model in MODELS.glob("*.pml") for name in re.findall(r"MUTANT_(\w+)", model.read_text("utf-8"))}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(CHECK), *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


def test_each_mistake_on_the_page_is_in_a_model_and_is_looked_for() -> None:
    page = Counter(re.findall(r"^\| MUTANT_(\w+) \|", (MODELS / "README.md").read_text("utf-8"), re.MULTILINE))
    script = Counter(re.findall(r'Run\("\w+", "[^"]*", "(\w+)"\)', CHECK.read_text("utf-8")))
    assert page == script
    assert set(page) == seeded() and max(page.values()) == 1


def test_without_spin_it_says_so_and_is_content(tmp_path: Path) -> None:
    done = run(PATH=str(tmp_path))
    assert done.returncode == 0
    assert "spin is missing" in done.stdout


@pytest.mark.skipif(not (shutil.which("spin") and shutil.which("cc")), reason="needs spin and a C compiler")
class TestWithSpin:
    def test_a_small_model_passes_and_mistakes_in_it_are_found(self) -> None:
        done = run("--smoke")
        assert done.returncode == 0, done.stdout
        assert "passes" in done.stdout and "caught" in done.stdout

    def test_a_mistake_that_is_not_found_fails(self) -> None:
        """One packet, no cut: nothing that could show the mistake."""
        done = run("MUTANT_COUNTER_RESET", "--sizes=UP=0 DOWN=1 CUTS=0")
        assert done.returncode == 1
        assert "NOT CAUGHT" in done.stdout
