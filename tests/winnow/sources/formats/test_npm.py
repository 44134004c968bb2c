"""npm as shell scripts in its place on PATH; tarballs as `npm pack` writes them."""

import hashlib
import tarfile

import pytest

from tests.tars import write_tar
from winnow.sources.formats import npm

FOLDER = "package/img"
WANTED = {f"{FOLDER}/{name}.png": name.encode() * 10 for name in ("a", "b", "c", "d", "e")}
LARGEST = 100


def package(path):
    return npm.Package("drawings@1.0.0", path.name, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def tarball(tmp_path):
    return write_tar(tmp_path / "there" / "drawings-1.0.0.tgz", *WANTED.items(), mode="w:gz")


def member(name, kind=tarfile.REGTYPE, link="", size=0):
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    return made


def test_nothing_but_plain_files_of_exactly_these_names_is_read(tmp_path):
    odd = [
        member("../../outside.png", size=3),
        member("/absolute.png", size=3),
        member(f"{FOLDER}/../img/a.png", size=3),
        member(f"/{FOLDER}/a.png", size=3),
        member(f"{FOLDER}/a.png", tarfile.SYMTYPE, "/etc/passwd"),
        member(f"{FOLDER}/b.png", tarfile.LNKTYPE, "package/package.json"),
        member(f"{FOLDER}/c.png", tarfile.DIRTYPE),
        member(f"{FOLDER}/d.png", tarfile.FIFOTYPE),
        member(f"{FOLDER}/other.png", size=3),
        member(f"{FOLDER}/e.png", size=LARGEST + 1),
    ]
    path = write_tar(tmp_path / "drawings.tgz", *odd, *WANTED.items(), mode="w:gz")
    before = sorted(tmp_path.rglob("*"))
    assert npm.members(path, package(path), WANTED.keys(), LARGEST) == WANTED
    assert sorted(tmp_path.rglob("*")) == before  # nothing is unpacked


def test_an_altered_tarball_is_refused_with_both_hashes(tarball):
    data, pinned = tarball.read_bytes(), package(tarball)
    for changed in (data[:-20], data[:50] + bytes([data[50] ^ 1]) + data[51:]):
        tarball.write_bytes(changed)
        with pytest.raises(ValueError, match=r"drawings-1\.0\.0\.tgz: truncated or altered") as caught:
            npm.members(tarball, pinned, WANTED.keys(), LARGEST)
        assert hashlib.sha256(changed).hexdigest() in str(caught.value)
        assert pinned.sha256 in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.fixture
def client(tmp_path, monkeypatch):
    """A function: a shell script in the place of npm, and nothing else on PATH."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def write(*lines):
        path = tmp_path / "bin" / "npm"
        path.write_text("\n".join(["#!/bin/sh", "PATH=/usr/bin:/bin", *lines]))
        path.chmod(0o755)

    return write


def test_without_npm_one_line_says_what_to_do(client, tarball, tmp_path):
    says = r"^dataset.path: null needs the npm client .*; install npm .*, or set dataset.path"
    with pytest.raises(ValueError, match=says) as caught:
        npm.fetch(package(tarball), tmp_path / "downloads", "emoji")
    assert tarball.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_download_is_checked_before_it_is_kept(client, tarball, tmp_path):
    downloads = tmp_path / "downloads"
    client(f"tail -c +9 {tarball} > {tarball.name}")
    with pytest.raises(ValueError, match=r"tgz: truncated or altered: SHA-256 is [0-9a-f]{64}, expected"):
        npm.fetch(package(tarball), downloads, "emoji")
    assert list(downloads.iterdir()) == []
    client(f"cp {tarball} .")
    npm.fetch(package(tarball), downloads, "emoji")
    assert [path.name for path in downloads.iterdir()] == [tarball.name]


def test_a_failed_download_is_one_line_with_npms_reason(client, tarball, tmp_path):
    client(
        "echo 'npm error code ENOTFOUND' >&2",
        "echo 'npm error network request to https://registry.npmjs.org/x failed' >&2",
        "echo 'npm error     at ClientRequest.emit (node:events:509:28)' >&2",
        "echo 'npm error A complete log of this run can be found in: /root/.npm/_logs/x.log' >&2",
        "exit 1",
    )
    with pytest.raises(ValueError, match=r"npm pack drawings@1\.0\.0 failed") as caught:
        npm.fetch(package(tarball), tmp_path / "downloads", "emoji")
    assert "code ENOTFOUND; network request to https://registry.npmjs.org/x failed)" in str(caught.value)
    assert f"set dataset.path to a folder with {tarball.name}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "downloads").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "says"),
    [("exec sleep 20", "failed .*timed out after 0.5 seconds"), ("", r"left no drawings-1\.0\.0\.tgz")],
)
def test_a_silent_npm_is_one_line(client, tarball, tmp_path, monkeypatch, line, says):
    monkeypatch.setattr(npm, "SECONDS", 0.5)
    client(line)
    with pytest.raises(ValueError, match=says):
        npm.fetch(package(tarball), tmp_path / "downloads", "emoji")
