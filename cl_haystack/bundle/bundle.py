"""Open a model bundle and check that it is what it says.

Nothing of a bundle is executed or unpickled here, and loading touches no network; a bundle may come from a
stranger.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cl_haystack.bundle.fingerprint import SHORT_ID_CHARS
from cl_haystack.bundle.manifest import MODEL_FILE, TOKENIZER_FILE, Manifest, Precision, Similarity
from cl_haystack.bundle.manifest_file import read_manifest
from cl_haystack.bundle.packing import PackedBundle, open_packed, pack
from cl_haystack.bundle.placing import cache_place, place, refuse_existing
from cl_haystack.bundle.verification import (
    check_graph,
    check_hashes,
    check_identity,
    check_names,
    check_sizes,
)
from cl_haystack.errors import BundleError


@dataclass(frozen=True)
class ModelBundle:
    """A directory with all that serving needs: ``manifest.json``, ``model.onnx``, ``tokenizer.json``.

    :param path: the directory.
    :param manifest: its manifest, validated.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def load(cls, path: str | Path, *, verify: bool = True) -> "ModelBundle":
        """Read the manifest and check the files against it. The network is never touched.

        A packed bundle is unpacked into the user's cache, once: later loads use the copy there.

        :param path: the bundle's directory, or a packed bundle.
        :param verify: compare every file's SHA-256 and scan the graph; ``False`` compares sizes only, for
            bundles that this process has verified before.
        :returns: the bundle.
        :raises BundleError: this is no bundle, or a file is missing, changed or unsafe.
        """
        directory = Path(path)
        try:
            if directory.is_file():
                return cls._load_packed(directory, verify=verify)
            manifest = read_manifest(directory)
            check_names(directory, manifest)
            check_sizes(directory, manifest)
            check_identity(directory, manifest)
            if verify:
                check_hashes(directory, manifest)
                check_graph(directory, manifest)
        except OSError as error:
            raise BundleError(
                directory, f"cannot be read ({error}); check the path and its permissions"
            ) from error
        return cls(path=directory, manifest=manifest)

    @classmethod
    def _load_packed(cls, file: Path, *, verify: bool) -> "ModelBundle":
        with open_packed(file) as packed:
            if verify:
                packed.check()
            return cls._cached(
                packed.manifest_bytes, lambda draft: cls._extract(packed, draft), verify=verify
            )

    @classmethod
    def _cached(cls, manifest: bytes, write: Callable[[Path], None], *, verify: bool) -> "ModelBundle":
        """Open the user's copy of a bundle; where there is none, or a damaged one, make it."""
        copy = cache_place(manifest)
        if copy.exists():
            try:
                return cls.load(copy, verify=verify)
            except BundleError:
                shutil.rmtree(copy, ignore_errors=True)
        place(copy, write)
        return cls.load(copy, verify=verify)  # a damaged copy that could not be removed is still there

    @classmethod
    def _extract(cls, packed: PackedBundle, directory: Path) -> None:
        packed.extract(directory)
        cls.load(directory)

    @classmethod
    def unpack(cls, file: str | Path, out: str | Path) -> "ModelBundle":
        """Turn a packed bundle into a directory of your own, not one of the cache.

        :param file: a packed bundle.
        :param out: the directory, created.
        :returns: the bundle in that directory, verified.
        :raises BundleError: the file is damaged or unsafe, or ``out`` exists.
        """
        out = Path(out)
        refuse_existing(out)
        with open_packed(Path(file)) as packed:
            place(out, lambda draft: cls._extract(packed, draft))
        return cls.load(out)

    def pack(self, file: str | Path) -> Path:
        """Write this bundle as one file, byte for byte the same for the same bundle.

        :param file: for example ``model.zip``; created, or replaced if it is a packed bundle.
        :returns: the file.
        :raises BundleError: the bundle is damaged, or the file cannot be written.
        """
        pack(self.path, self.load(self.path).manifest, Path(file))
        return Path(file)

    @classmethod
    def pull(
        cls,
        repo_id: str,
        out: str | Path | None = None,
        *,
        revision: str | None = None,
        token: str | None = None,
    ) -> "ModelBundle":
        """Fetch a bundle from a repository of the Hugging Face hub, and verify it.

        Only the files of a bundle are fetched, whatever else the repository holds.

        :param repo_id: for example ``organisation/model``.
        :param out: directory to create; None takes a place in the user's cache, and fetches nothing but the
            manifest where the bundle is there already.
        :param revision: branch, tag or commit; None takes the main branch. Name a commit to get the same
            bundle for ever.
        :param token: access token; None takes the one of ``hf auth login`` or ``HF_TOKEN``.
        :returns: the bundle, verified.
        :raises HubError: the hub cannot be reached, or has no such repository, revision or bundle.
        :raises BundleError: what was fetched is damaged or unsafe, or ``out`` exists.
        """
        from cl_haystack.bundle.hub import HubRepository

        repository = HubRepository(repo_id, token=token, revision=revision)

        def write(draft: Path) -> None:
            repository.download(draft)
            cls.load(draft)

        if out is None:
            return cls._cached(repository.manifest_bytes, write, verify=True)
        refuse_existing(Path(out))
        place(Path(out), write)
        return cls.load(out)

    def push(
        self,
        repo_id: str,
        *,
        revision: str | None = None,
        private: bool | None = None,
        token: str | None = None,
    ) -> str:
        """Upload this bundle to a repository of the Hugging Face hub, which is made where it is missing.

        :param repo_id: for example ``organisation/model``.
        :param revision: branch to commit to; None takes the main branch.
        :param private: whether a new repository is private; None takes the organisation's default.
        :param token: access token; None takes the one of ``hf auth login`` or ``HF_TOKEN``.
        :returns: the commit, for ``pull(…, revision=…)``.
        :raises HubError: the hub cannot be reached or refuses, or the repository holds something else.
        :raises BundleError: the bundle is damaged.
        """
        from cl_haystack.bundle.hub import upload

        manifest = self.load(self.path).manifest
        return upload(self.path, manifest, repo_id, revision=revision, private=private, token=token)

    @property
    def model_file(self) -> Path:
        """Path of the ONNX graph."""
        return self.path / MODEL_FILE

    @property
    def tokenizer_file(self) -> Path:
        """Path of the tokenizer."""
        return self.path / TOKENIZER_FILE

    @property
    def name(self) -> str:
        """Name of the model, for people."""
        return self.manifest.name

    @property
    def space_id(self) -> str:
        """Identity of the vector space: equal where vectors may be compared."""
        return self.manifest.space_id

    @property
    def fingerprint(self) -> str:
        """Identity of the bytes of a vector."""
        return self.manifest.fingerprint

    @property
    def short_fingerprint(self) -> str:
        """First eight digits of the fingerprint, as used in index names."""
        return self.manifest.fingerprint[:SHORT_ID_CHARS]

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.manifest.embedding.dimension

    @property
    def similarity(self) -> Similarity:
        """How vectors are compared."""
        return self.manifest.embedding.similarity

    @property
    def precision(self) -> Precision:
        """Number format of the graph's weights."""
        return self.manifest.numerics.precision

    def truncation_problem(self, truncate_dim: int | None) -> str | None:
        """Say why the model's vectors cannot be cut to a length.

        :param truncate_dim: how many of the first dimensions are kept; None keeps all.
        :returns: the reason; None where they can be, because the model was trained for it.
        """
        allowed = self.manifest.embedding.matryoshka_dimensions
        if truncate_dim in (None, self.dimension, *allowed):
            return None
        choice = f"one of {', '.join(map(str, allowed))}" if allowed else "none: it was not trained for that"
        return (
            f"truncate_dim is {truncate_dim}, but the dimensions that {self.label} can be cut to are {choice}"
        )

    @property
    def label(self) -> str:
        """Name and short identity, for messages."""
        return (
            f"'{self.name}' (space {self.space_id[:SHORT_ID_CHARS]}, {self.dimension} dimensions, "
            f"{self.precision})"
        )
