"""Put a whole bundle into its place at once: written beside, checked, then renamed."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from cl_haystack.bundle.manifest import MANIFEST_FILE
from cl_haystack.errors import BundleError


def place(target: Path, write: Callable[[Path], None]) -> None:
    """Make a folder that is either absent or complete, whatever happens in between.

    Several processes may place the same content at the same time: the first one wins.

    :param target: folder to create.
    :param write: fills a fresh folder beside it, and raises where something is wrong.
    :raises BundleError: the folder cannot be written, or holds something else already.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise BundleError(target, f"cannot be created ({error}); choose another place") from error
    try:
        write(draft)
        draft.chmod(0o755)
        draft.rename(target)
    except OSError as error:
        if not _same_manifest(draft, target):
            raise BundleError(target, f"cannot be written ({error})") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _same_manifest(draft: Path, target: Path) -> bool:
    """Tell whether somebody else has placed the same content meanwhile."""
    try:
        return (draft / MANIFEST_FILE).read_bytes() == (target / MANIFEST_FILE).read_bytes()
    except OSError:
        return False


def refuse_existing(out: Path) -> None:
    """Refuse to write where something is already.

    :param out: folder to be created.
    :raises BundleError: it exists and is not empty.
    """
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise BundleError(out, "exists already; remove it first, or choose another path")


def cache_place(manifest: bytes) -> Path:
    """Return where the user's cache keeps the bundle with this manifest, which names all content by hash.

    Nothing in the cache is the only copy of anything, so the folder may be deleted at any time.

    :param manifest: the bytes of ``manifest.json``.
    :returns: a folder that may exist; it exists only complete.
    """
    from platformdirs import user_cache_path

    digest = hashlib.sha256(manifest).hexdigest()[:32]
    return user_cache_path("cl-haystack", appauthor=False) / "bundles" / digest
