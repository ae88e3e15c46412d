from pathlib import Path

import pytest

from cl_haystack.opensearch.server.mirrors import maven_mirror, mirrors_central, remote_repositories


def settings(folder: Path, mirrors: str, namespace: str = "") -> Path:
    path = folder / ".m2" / "settings.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<settings{namespace}><mirrors>{mirrors}</mirrors></settings>", encoding="utf-8")
    return path


def mirror(of: str, url: str) -> str:
    return f"<mirror><id>m</id><mirrorOf>{of}</mirrorOf><url>{url}</url></mirror>"


@pytest.mark.parametrize("namespace", ["", ' xmlns="http://maven.apache.org/SETTINGS/1.2.0"'])
def test_the_first_mirror_of_central_is_taken(tmp_path: Path, namespace: str) -> None:
    mirrors = mirror("other", "https://a.example") + mirror("central", "https://b.example/maven/")
    assert maven_mirror(settings(tmp_path, mirrors, namespace)) == "https://b.example/maven"


def test_a_missing_or_broken_file_is_no_mirror(tmp_path: Path) -> None:
    assert maven_mirror(tmp_path / "settings.xml") is None
    broken = tmp_path / "broken.xml"
    broken.write_text("<settings>", encoding="utf-8")
    assert maven_mirror(broken) is None


@pytest.mark.parametrize(
    ("mirror_of", "expected"),
    [
        ("central", True),
        ("*", True),
        ("external:*", True),
        ("other, central", True),
        ("other", False),
        ("*,!central", False),
        ("", False),
    ],
)
def test_which_patterns_cover_central(mirror_of: str, expected: bool) -> None:
    assert mirrors_central(mirror_of) is expected


def test_settings_of_jgo_go_before_those_of_maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings(tmp_path, mirror("central", "https://maven.example"))
    configuration = tmp_path / "jgo.conf"
    monkeypatch.setenv("JGO_CONFIG_FILE", str(configuration))
    assert remote_repositories(tmp_path) == {"central": "https://maven.example"}
    configuration.write_text("[repositories]\nmine = https://jgo.example\n", encoding="utf-8")
    assert remote_repositories(tmp_path) == {"mine": "https://jgo.example"}


def test_nothing_configured_leaves_the_choice_to_jgo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JGO_CONFIG_FILE", str(tmp_path / "absent.conf"))
    assert remote_repositories(tmp_path) is None
