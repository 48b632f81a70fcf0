"""crun comes with the libraries that it needs, or says which one is missing."""

from __future__ import annotations

import pytest

from servicelab.bundle import ociruntime
from servicelab.errors import InfrastructureError


def test_a_library_is_found_in_any_architectures_folder(tmp_path):
    folder = tmp_path / "usr/lib/riscv64-linux-gnu"
    folder.mkdir(parents=True)
    (folder / "libcap.so.2").touch()

    assert ociruntime._library(tmp_path, "libcap.so.2") == folder / "libcap.so.2"


def test_a_library_that_no_package_brings_is_named(tmp_path):
    with pytest.raises(InfrastructureError, match=r"brings libyajl\.so\.2"):
        ociruntime._library(tmp_path, "libyajl.so.2")


def test_what_is_taken_along_decides_the_result(monkeypatch):
    before = ociruntime.crun_step().key
    monkeypatch.setattr(ociruntime, "LIBRARIES", (*ociruntime.LIBRARIES, "libz.so.1"))

    assert ociruntime.crun_step().key != before
