"""Where the jars come from: the Maven repositories that this user has configured.

In this order: ``[repositories]`` of jgo's own settings, a mirror of central in Maven's ``settings.xml``, else
the default of jgo. Proxies and credentials come from where requests looks: ``HTTPS_PROXY`` and ``~/.netrc``.
"""

import logging
from pathlib import Path
from xml.etree import ElementTree

logger = logging.getLogger(__name__)

CENTRAL = "central"


def remote_repositories(home: Path | None = None) -> dict[str, str] | None:
    """Return the user's repositories by name.

    :param home: home folder of the user; default: that of this process.
    :returns: name to address, or None where nothing is configured.
    """
    from jgo.config import GlobalSettings  # heavy, and only needed when something is downloaded

    configured = GlobalSettings.load().repositories
    if configured:
        return dict(configured)
    mirror = maven_mirror((home or Path.home()) / ".m2" / "settings.xml")
    return None if mirror is None else {CENTRAL: mirror}


def maven_mirror(settings: Path) -> str | None:
    """Return the mirror of central that a Maven settings file names.

    :param settings: path of a ``settings.xml``; it need not exist.
    :returns: address of the mirror, or None.
    """
    try:
        root = ElementTree.parse(settings).getroot()  # noqa: S314 - the user's own file
    except FileNotFoundError:
        return None
    except (OSError, ElementTree.ParseError) as error:
        logger.warning("%s cannot be read and is ignored: %s", settings, error)
        return None
    for mirror in root.iterfind("{*}mirrors/{*}mirror"):
        url = (mirror.findtext("{*}url") or "").strip()
        if url and mirrors_central(mirror.findtext("{*}mirrorOf") or ""):
            return url.rstrip("/")
    return None


def mirrors_central(mirror_of: str) -> bool:
    """Tell whether ``<mirrorOf>`` covers central: by name or wildcard, unless it is excluded."""
    names = {name.strip() for name in mirror_of.split(",")}
    return f"!{CENTRAL}" not in names and bool(names & {CENTRAL, "*", "external:*"})
