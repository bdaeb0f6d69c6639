"""`push` and `pull`: a saved task to the Hugging Face hub, and from one commit of it."""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vpt.artifacts.card import card
from vpt.artifacts.files import read_content, write_files
from vpt.artifacts.load import read_task
from vpt.artifacts.schema import CARD, CONFIG, TENSORS
from vpt.backbones import network
from vpt.errors import ArtifactError, OptionError, WeightsUnavailable

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

COMMIT = re.compile("[0-9a-f]{40}")

OF_DISKS = {
    errno.EACCES, errno.EDQUOT, errno.EEXIST, errno.EIO, errno.EISDIR, errno.ENOENT, errno.ENOSPC, errno.ENOTDIR,
    errno.EPERM, errno.EROFS,
}  # fmt: skip
"""Faults of this machine's disk; of other `OSError`s the network has its own."""

LOG_IN = "log in (`hf auth login`), set HF_TOKEN, or give token="

log = logging.getLogger(__name__)


def push(
    folder: Path | str,
    repo_id: str,
    *,
    private: bool = True,
    branch: str | None = None,
    message: str | None = None,
    token: str | None = None,
) -> str:
    """Upload the task saved in `folder` to the repository OWNER/NAME, made where there is none; answers the commit.

    private: of a repository that is made here; another keeps what it is.
    branch: by default main; made where there is none. message: of the commit.
    token: by default the one of HF_TOKEN, or of `hf auth login`.
    Raises `ArtifactError` for a damaged task, before anything is sent, and where the hub refuses, and
    `WeightsUnavailable` where it does not answer.
    """
    from huggingface_hub import CommitOperationAdd

    folder = Path(folder)
    manifest, _ = read_task(folder)
    words = folder / CARD
    files = {
        CONFIG: (folder / CONFIG).read_bytes(),
        TENSORS: read_content(folder, manifest),
        CARD: words.read_bytes() if words.is_file() else card(manifest).encode(),
    }
    with _hub(repo_id, token) as api:
        api.create_repo(repo_id, private=private, exist_ok=True)
        if branch is not None:
            api.create_branch(repo_id, branch=branch, exist_ok=True)
        operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        summary = message or f"{manifest.method}, saved by vpt {manifest.versions.get('vpt', '')}".strip()
        commit = api.create_commit(repo_id, operations, commit_message=summary, revision=branch)
    return str(commit.oid)


def pull(
    repo_id: str, *, revision: str | None = None, folder: Path | str | None = None, token: str | None = None
) -> Path:
    """The three files of a task from the repository OWNER/NAME, checked; answers the folder that has them.

    revision: a commit, which pins what is had and needs no network a second time; or a tag or branch, by default main,
        of which the commit is told in the log.
    folder: where to put them; by default they stay in the hub's cache, in a folder named after the commit.
    token: as for `push`.
    What is damaged in the cache is fetched again. Raises `ArtifactError` for an unknown repository or revision, for
    files that are damaged or no task and for a folder or cache that cannot be written, and `WeightsUnavailable` where
    the hub does not answer.
    """
    commit = resolve(repo_id, revision, token=token)
    fetched = _cached(repo_id, commit) or _fetch(repo_id, commit, token)
    try:
        manifest, _ = read_task(fetched)
    except ArtifactError as error:  # it may have been damaged in the cache, where it would stay
        log.warning("%s; fetching it again", error)
        fetched = _fetch(repo_id, commit, token, anew=True)
        manifest, _ = read_task(fetched)
    if folder is None:
        return fetched
    config, words = ((fetched / name).read_bytes() for name in (CONFIG, CARD))
    try:
        write_files(Path(folder), read_content(fetched, manifest), config, words)
    except OSError as error:
        raise ArtifactError(f"{str(folder)!r} cannot be written: {error}") from error
    return Path(folder)


def resolve(repo_id: str, revision: str | None = None, *, token: str | None = None) -> str:
    """The commit, 40 hexadecimal digits, that a tag or branch stands for now; a commit is answered as it is.

    Raises as `pull` does.
    """
    if revision is not None and COMMIT.fullmatch(revision):
        return revision
    with _hub(repo_id, token, revision) as api:
        commit = str(api.model_info(repo_id, revision=revision).sha)
    log.info("%s: %s is commit %s", repo_id, revision or "main, by default,", commit)
    return commit


def _cached(repo_id: str, commit: str) -> Path | None:
    """Where an earlier download of all files of this commit lies on this machine, or None."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = [try_to_load_from_cache(repo_id, name, revision=commit) for name in (CONFIG, TENSORS, CARD)]
    except HFValidationError as error:
        raise OptionError(f"{error}; accepted: OWNER/NAME") from error
    return Path(str(found[0])).parent if all(isinstance(path, str) for path in found) else None


def _fetch(repo_id: str, commit: str, token: str | None, *, anew: bool = False) -> Path:
    names = (CONFIG, TENSORS, CARD)
    with _hub(repo_id, token, commit) as api:
        found = [api.hf_hub_download(repo_id, name, revision=commit, force_download=anew) for name in names]
    return Path(found[0]).parent


@contextmanager
def _hub(repo_id: str, token: str | None, revision: str | None = None) -> Iterator[HfApi]:
    """The hub's interface, asked once whether it answers; what it says no to becomes an error of ours.

    Of the rest of what can go wrong the types change with huggingface_hub's versions, and with the HTTP library that it
    is built on.
    """
    from huggingface_hub import HfApi, errors

    where = f"{repo_id}, revision {revision}" if revision else repo_id
    if (fault := network.out_of_reach(network.hub())) is not None:
        raise WeightsUnavailable(f"{where} is out of reach: {fault}. A commit that was pulled before needs no network")
    try:
        yield HfApi(endpoint=network.hub(), token=token)
    except errors.HFValidationError as error:
        raise OptionError(f"{error}; accepted: OWNER/NAME") from error
    except errors.RevisionNotFoundError as error:
        raise ArtifactError(f"{repo_id} has no revision {revision!r}; accepted: a commit, a tag or a branch") from error
    except errors.RepositoryNotFoundError as error:
        raise ArtifactError(f"{repo_id} does not exist, or is private: {LOG_IN}") from error
    except errors.HfHubHTTPError as error:
        raise _answered(error, where) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in OF_DISKS:
            raise ArtifactError(f"{where} cannot be cached: {error}; HF_HOME names another place") from error
        raise WeightsUnavailable(f"{where}: {network.hub()} failed: {error}") from error


def _answered(error: HfHubHTTPError, where: str) -> ArtifactError | WeightsUnavailable:
    """The error for a status that the hub answered with."""
    status = error.response.status_code
    if status in (401, 403):
        return ArtifactError(f"{where}: the hub does not permit it ({status}): {LOG_IN}")
    if status == 404:
        return ArtifactError(f"{where} holds no task of vpt: {error}")
    if status < 500:
        return ArtifactError(f"{where}: the hub refuses it: {error}")
    return WeightsUnavailable(f"{where}: the hub failed ({status}); try again later")
