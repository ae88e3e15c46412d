"""Bundles in repositories of the Hugging Face hub. This is the only part of the folder that uses the network.

A repository may hold anything; only the files that a manifest can name are looked at, from one commit, after
their sizes have been compared with the limits. What was fetched is verified like any bundle.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cl_haystack.bundle.files import MAX_BYTES
from cl_haystack.bundle.manifest import MANIFEST_FILE, Manifest
from cl_haystack.bundle.manifest_file import parse_manifest
from cl_haystack.bundle.verification import check_names
from cl_haystack.errors import BundleError, HubError, quote

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_IN_NEW_REPOSITORIES = {".gitattributes"}


class HubRepository:
    """A bundle in a repository, at the commit that its revision means now.

    :param repo_id: for example ``organisation/model``.
    :param token: access token; None takes the user's own.
    :param revision: branch, tag or commit; None takes the main branch.
    """

    def __init__(self, repo_id: str, *, token: str | None, revision: str | None) -> None:
        self._repo_id = repo_id
        self._api = _client(token)
        with _hub_errors(repo_id):
            found = self._api.model_info(repo_id, revision=revision, files_metadata=True)
        self._commit = found.sha
        self._sizes = {file.rfilename: file.size or 0 for file in found.siblings or []}
        if MANIFEST_FILE not in self._sizes:
            raise HubError(repo_id, f"holds no {MANIFEST_FILE} at {self._commit}; it is not a bundle")
        self.manifest_bytes = self._read_manifest()
        self._manifest = parse_manifest(self.manifest_bytes, self._name(MANIFEST_FILE))
        check_names(repo_id, self._manifest)

    def download(self, directory: Path) -> None:
        """Fetch the files that the manifest names.

        :param directory: an empty folder.
        :raises HubError: the hub cannot be reached.
        :raises BundleError: a file is missing or has another size than stated.
        """
        for name, expected in self._manifest.files.items():
            if self._sizes.get(name) != expected.bytes:
                found = f"{self._sizes[name]:,} bytes" if name in self._sizes else "nothing"
                raise BundleError(
                    self._name(name),
                    f"is {found}, the manifest says {expected.bytes:,} bytes; push the bundle again",
                )
            self._fetch(name, directory)
        (directory / MANIFEST_FILE).write_bytes(self.manifest_bytes)
        shutil.rmtree(directory / ".cache", ignore_errors=True)  # huggingface_hub's notes

    def _read_manifest(self) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            self._fetch(MANIFEST_FILE, Path(folder))
            return (Path(folder) / MANIFEST_FILE).read_bytes()

    def _fetch(self, name: str, directory: Path) -> None:
        if (size := self._sizes[name]) > MAX_BYTES[name]:
            raise BundleError(
                self._name(name), f"has {size:,} bytes, at most {MAX_BYTES[name]:,} are allowed; refused"
            )
        with _hub_errors(self._repo_id):
            self._api.hf_hub_download(self._repo_id, name, revision=self._commit, local_dir=directory)

    def _name(self, file: str) -> str:
        return f"{self._repo_id}/{file}"


def upload(
    directory: Path,
    manifest: Manifest,
    repo_id: str,
    *,
    revision: str | None,
    private: bool | None,
    token: str | None,
) -> str:
    """Upload the files that a manifest names, and the manifest, as one commit.

    :param directory: the bundle, verified.
    :param manifest: its manifest.
    :param repo_id: made where it is missing; one that exists must hold a bundle, or nothing.
    :param revision: branch to commit to; None takes the main branch.
    :param private: whether a new repository is private; None takes the hub's default.
    :param token: access token; None takes the user's own.
    :returns: the commit.
    :raises HubError: the hub cannot be reached or refuses, or the repository holds something else.
    """
    api = _client(token)
    with _hub_errors(repo_id):
        api.create_repo(repo_id, private=private, exist_ok=True)
        found = {file.rfilename for file in api.model_info(repo_id, revision=revision).siblings or []}
    if MANIFEST_FILE not in found and (foreign := sorted(found - _IN_NEW_REPOSITORIES)):
        raise HubError(
            repo_id,
            f"holds {quote(foreign[0])} and no {MANIFEST_FILE}: it is not a bundle, and would be changed; "
            "push to another repository",
        )
    with _hub_errors(repo_id):
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=directory,
            allow_patterns=[MANIFEST_FILE, *manifest.files],
            revision=revision,
            commit_message=f"Bundle of {manifest.name}, fingerprint {manifest.fingerprint[:8]}",
        )
    return str(commit.oid)


def _client(token: str | None) -> "HfApi":
    from huggingface_hub import HfApi

    return HfApi(token=token)


@contextmanager
def _hub_errors(repo_id: str) -> Iterator[None]:
    import httpx

    try:
        yield
    # OSError: requests' errors, the hub's own, no network; ValueError: a name that cannot be one;
    # httpx: the transport of huggingface_hub 1.
    except (OSError, ValueError, httpx.HTTPError) as error:
        raise HubError(repo_id, " ".join(str(error).split())) from error
