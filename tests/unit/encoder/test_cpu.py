"""What the kernel says about cores and multipliers, from files as they look on real machines."""

import os
import platform
from pathlib import Path

import pytest

from cl_haystack.encoder.cpu import bfloat16_is_faster, multiplies_int8_exactly, usable_cores


def machine(root: Path, siblings: list[str], **files: str) -> Path:
    for number, line in enumerate(siblings):
        folder = root / f"sys/devices/system/cpu/cpu{number}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(line + "\n")
    for name, content in files.items():
        file = root / {"v2": "sys/fs/cgroup/cpu.max", "v1": "sys/fs/cgroup/cpu/cpu.cfs_quota_us"}[name]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        (file.parent / "cpu.cfs_period_us").write_text("100000\n")
    return root


@pytest.mark.parametrize(
    ("siblings", "affinity", "files", "expected"),
    [
        (["0", "1", "2", "3"], {0, 1, 2, 3}, {}, 4),
        (["0-1", "0-1", "2-3", "2-3"], {0, 1, 2, 3}, {}, 2),
        (["0,2", "1,3", "0,2", "1,3"], {0, 2}, {}, 1),
        (["0", "1", "2", "3"], {1, 3}, {"v2": "max 100000\n"}, 2),
        (["0", "1", "2", "3"], {0, 1, 2, 3}, {"v2": "150000 100000\n"}, 2),
        (["0", "1", "2", "3"], {0, 1, 2, 3}, {"v2": "1000 100000\n"}, 1),
        (["0", "1", "2", "3"], {0, 1, 2, 3}, {"v1": "200000\n"}, 2),
        (["0", "1", "2", "3"], {0, 1, 2, 3}, {"v1": "-1\n"}, 4),
        ([], {0, 1, 2}, {}, 3),
    ],
)
def test_cores_are_those_that_may_be_used(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    siblings: list[str],
    affinity: set[int],
    files: dict[str, str],
    expected: int,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: affinity, raising=False)
    assert usable_cores(machine(tmp_path, siblings, **files)) == expected


@pytest.mark.parametrize(
    ("own", "limits", "expected"),
    [
        ("0::/system.slice/x.service", {"system.slice/x.service/cpu.max": "100000 100000"}, 1),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000", "cpu.max": "max 100000"}, 2),
        ("0::/a", {"a/cpu.max": "300000 100000", "cpu.max": "200000 100000", "b/cpu.max": "1 100000"}, 2),
        ("0::/a", {"a/cpu.max": "900000 100000"}, 4),
        ("2:cpu,cpuacct:/a\n1:cpuset:/b", {"cpu/a/cpu.cfs_quota_us": "200000"}, 2),
        ("2:cpu,cpuacct:/a\n1:cpuset:/b", {"cpu/b/cpu.cfs_quota_us": "200000"}, 4),
        ("0::/../other", {}, 4),
    ],
)
def test_limits_of_the_groups_that_this_process_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, limits: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    root = machine(tmp_path, ["0", "1", "2", "3"])
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(own + "\n")
    for name, content in limits.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content + "\n")
        (file.parent / "cpu.cfs_period_us").write_text("100000\n")
    assert usable_cores(root) == expected


def test_this_machine_has_cores() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("processor", "cpuinfo", "expected"),
    [
        ("x86_64", "model\t: 1\nflags\t\t: fpu avx2 avx512_vnni sse\n", True),
        ("x86_64", "flags\t\t: fpu avx2 avx_vnni\n", True),
        ("AMD64", "flags\t\t: fpu avx2 avx512f\n", False),
        ("AMD64", None, False),
        ("aarch64", "Features\t: asimddp\n", True),
    ],
)
def test_only_x86_without_vnni_saturates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processor: str, cpuinfo: str | None, expected: bool
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: processor)
    if cpuinfo is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/cpuinfo").write_text(cpuinfo)
    assert multiplies_int8_exactly(tmp_path) is expected


@pytest.mark.parametrize(
    ("vendor", "flags", "expected"),
    [
        ("AuthenticAMD", "avx512_bf16", True),
        ("AuthenticAMD", "avx512f", False),
        ("GenuineIntel", "avx512_bf16 amx_bf16 amx_tile", True),
        ("GenuineIntel", "avx512_bf16", False),
    ],
)
def test_bfloat16_is_faster_with_amx_and_on_amd(
    tmp_path: Path, vendor: str, flags: str, expected: bool
) -> None:
    assert bfloat16_is_faster(tmp_path) is False
    (tmp_path / "proc").mkdir()
    cpuinfo = f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: fpu {flags} sse\n"
    (tmp_path / "proc/cpuinfo").write_text(f"{cpuinfo}\n{cpuinfo.replace('0', '1')}")
    assert bfloat16_is_faster(tmp_path) is expected
