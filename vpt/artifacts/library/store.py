"""Where the files of a library lie: in a folder, or in any file system that fsspec knows."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import fsspec
from fsspec.implementations.dirfs import DirFileSystem

from vpt.data.locks import hold
from vpt.errors import ArtifactError, OptionError, nearest
from vpt.training.files import sync_folder, write_temporary

_log = logging.getLogger(__name__)

EXCLUSIVE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "az", "abfss", "memory"})
"""File systems of which `pipe_file(mode="create")` is one step: of two who make the same file, one is refused.

So it is with s3fs from 2025.7 on AWS itself, with gcsfs from 2024.12 and adlfs from 2025.8. Stores that only speak S3's
language may take a second file all the same, for which see `Store.probe`.
"""

_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)  # what folders without hard links answer


class Store:
    """Files by their names, such as `log/00000001.json`; all are made once, whole, and none is ever changed.

    folder: where they lie, in a file system of this machine; None elsewhere.
    Whatever a file system has to complain of, but a missing file that is read, is an `ArtifactError` with its words.
    Where a file system cannot make a file only if there is none (see `EXCLUSIVE`), `create` first looks and then
    writes, and says so once: there, one writer at a time is the most that is safe.
    """

    folder: Path | None = None

    def __init__(self, url: str, fs: fsspec.AbstractFileSystem, root: str) -> None:
        self.url, self._fs, self._whole = url, DirFileSystem(path=root or "/", fs=fs), fs
        self._doubtful, self._told = not _protocols(fs) & EXCLUSIVE, False

    def listed(self, folder: str) -> list[str]:
        """Names directly in `folder`, files and folders, without what comes before; none where there is no folder."""
        with self._naming(folder):
            self._whole.invalidate_cache()  # others write, too; of its own a `DirFileSystem` has no cache
            try:
                return sorted(name.rstrip("/").rpartition("/")[2] for name in self._fs.ls(folder, detail=False))
            except FileNotFoundError:
                return []

    def files(self, folder: str) -> list[str]:
        """Names of all files in `folder` and below."""
        with self._naming(folder):
            self._whole.invalidate_cache()
            return sorted(name for name in self._fs.find(folder))

    def read(self, names: Collection[str]) -> dict[str, bytes]:
        """The content of each file that is there; an object store is asked for all at once."""
        with self._naming(", ".join(names)):
            contents = self._fs.cat_ranges([*names], None, None, on_error="return")  # `cat` takes names for patterns
        found = dict(zip(names, contents, strict=True))
        for name, content in found.items():
            if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                with self._naming(name):
                    raise content
        return {name: content for name, content in found.items() if isinstance(content, bytes)}

    def probe(self, folder: str) -> None:
        """Try in `folder` whether a second file of one name is refused, and say so where it is not."""
        name = f"{folder}/probe-{uuid4().hex}"
        self.create(name, b"1")
        if self.create(name, b"2"):
            self._tell()
        self.remove(name)

    def create(self, name: str, content: bytes) -> bool:
        """Make a new file; False where one of this name is there. A reader sees all of it or nothing."""
        if self._doubtful:
            self._tell()
        with self._naming(name):
            try:
                self._fs.pipe_file(name, content, mode="create")
            except FileExistsError:
                return False
            except Exception:
                if self._fs.exists(name):  # refused in other words, or made before an answer got lost
                    return False
                raise
            return True

    def put(self, name: str, content: bytes) -> None:
        """Make a file whose name tells its content, so that to make it again changes nothing."""
        with self._naming(name):
            self._fs.pipe_file(name, content)

    def remove(self, name: str, older: float = 0) -> bool:
        """Delete a file written so many seconds ago; False where it is younger, or gone already."""
        if self.age(name) < older:
            return False
        with self._naming(name):
            try:
                self._fs.rm_file(name)
            except FileNotFoundError:
                return False
            return True

    def age(self, name: str) -> float:
        """Seconds since a file was written; 0 where it is gone."""
        with self._naming(name):
            try:
                return (datetime.now(UTC) - _aware(self._fs.modified(name))).total_seconds()
            except FileNotFoundError:
                return 0.0

    def at(self, name: str) -> str:
        """A file as the user would write it."""
        return f"{self.url.rstrip('/')}/{name}"

    def _tell(self) -> None:
        if not self._told:
            _log.warning("%s: files cannot be made exclusively there: let no two change the library at once", self.url)
        self._told = True

    @contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # every file system has exceptions of its own
            raise ArtifactError(f"{self.at(name)}: {error or type(error).__name__}") from error


class LocalStore(Store):
    """Files in a folder, durable: content is on disk before its name is, and the name before the answer."""

    def __init__(self, url: str, fs: fsspec.AbstractFileSystem, root: str) -> None:
        super().__init__(url, fs, root)
        self.folder = Path(root)

    def create(self, name: str, content: bytes) -> bool:
        """As of `Store`: a hard link to a finished file, or, in a folder that has none, a rename under a lock."""
        with self._naming(name), self._written(name, content) as (temporary, path):
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                with hold(path.with_name("lock")) as alone:
                    if not alone:
                        self._tell()
                    if path.exists():
                        return False
                    os.replace(temporary, path)
            return True

    def put(self, name: str, content: bytes) -> None:
        """As of `Store`."""
        with self._naming(name), self._written(name, content) as (temporary, path):
            os.replace(temporary, path)

    def probe(self, folder: str) -> None:
        """Nothing to try: `create` knows whether it excludes."""

    def remove(self, name: str, older: float = 0) -> bool:
        """As of `Store`, and of a file that is written anew meanwhile the new one stays."""
        aside = f"{name}.{uuid4().hex}"
        with self._naming(name):
            try:
                os.rename(self._path(name), self._path(aside))
            except FileNotFoundError:
                return False
        if self.age(aside) >= older:
            return super().remove(aside)
        with self._naming(name):
            os.replace(self._path(aside), self._path(name))
            sync_folder(self._path(name).parent)
        return False

    def _path(self, name: str) -> Path:
        return Path(self._fs.path, name)

    @contextmanager
    def _written(self, name: str, content: bytes) -> Iterator[tuple[Path, Path]]:
        """A finished file that nobody else has a name for, and where it is to be; nothing of it stays afterwards."""
        path = self._path(name)
        _make(path.parent)
        temporary = write_temporary(path.with_name(f"{path.name}.{uuid4().hex}"), content)
        try:
            yield temporary, path
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


def store_of(url: str) -> Store:
    """The files at `url`: a folder, or what fsspec makes of `s3://...` and the like. Raises `OptionError`."""
    try:
        fs, root = fsspec.url_to_fs(url)
    except ImportError as error:
        raise OptionError(f"library {url!r} needs another package: {error}") from error
    except ValueError as error:
        name = url.partition("://")[0]
        close = nearest(name, fsspec.available_protocols())
        raise OptionError(f"library {url!r}: {error}{close}; accepted: a folder, or an fsspec URL") from error
    return (LocalStore if "file" in _protocols(fs) else Store)(url, fs, root)


def _protocols(fs: fsspec.AbstractFileSystem) -> set[str]:
    return {fs.protocol} if isinstance(fs.protocol, str) else {*fs.protocol}


def _make(folder: Path) -> None:
    """Make a folder and those above it, durable each: a file is not on disk where its folder's name is not."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def _aware(time: datetime) -> datetime:
    """`time` with its zone; a file system that tells none means UTC."""
    return time if time.tzinfo else time.replace(tzinfo=UTC)
