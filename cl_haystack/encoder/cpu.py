"""What the processor offers this process: how many cores it may use, and how it multiplies bytes.

No library of the base install knows both the affinity mask and the container's limit, so the kernel's files
are read; where they are absent (macOS, Windows) the answer is the one that is right everywhere.
"""

import math
import os
import platform
from pathlib import Path, PurePosixPath

# As the Linux kernel names them.
_FAST_INT8_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


def logical_processors() -> set[int]:
    """Return the numbers of the logical processors that this process may use."""
    get_affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return get_affinity(0) if get_affinity else set(range(os.cpu_count() or 1))


def usable_cores(root: Path = Path("/")) -> int:
    """Count the physical cores that this process may use.

    Two threads of one core share its multipliers, so a second one adds little to matrix products.

    :param root: where ``/sys`` and ``/proc`` lie; tests give another.
    :returns: cores in the affinity mask, at most the processor time that the container may use; at least 1.
    """
    logical = logical_processors()
    topology = root / "sys/devices/system/cpu"
    cores = {_read(topology / f"cpu{number}/topology/thread_siblings_list") or number for number in logical}
    return max(1, min(len(cores), _cgroup_cpus(root, len(cores))))


def multiplies_int8_exactly(root: Path = Path("/")) -> bool:
    """Tell whether products of bytes are summed without saturation.

    x86 before VNNI and AMX adds pairs of products in 16 bits, which overflow; onnxruntime then needs its
    slower exact path. ARM has no such instruction. Where the flags cannot be read, the answer is no: the slow
    path is right on every processor.

    :param root: where ``/proc`` lies; tests give another.
    :returns: whether the fast path is also right.
    """
    if platform.machine().lower() not in ("x86_64", "amd64", "i386", "i686"):
        return True
    return not _FAST_INT8_FLAGS.isdisjoint(_flags(_processor(root)))


def bfloat16_is_faster(root: Path = Path("/")) -> bool:
    """Tell whether the processor multiplies bfloat16 faster than float32.

    With AMX it does, and AMD's do with AVX512-BF16. Intel's have AVX512-BF16 also where a hypervisor hides
    AMX: torch's products take 1.8 times as long there as in float32 (docs/experiments.md).

    :param root: where ``/proc`` lies; tests give another.
    :returns: False also where the processor cannot be read.
    """
    processor = _processor(root)
    flags = _flags(processor)
    return "amx_bf16" in flags or ("avx512_bf16" in flags and processor.get("vendor_id") == "AuthenticAMD")


def _processor(root: Path) -> dict[str, str]:
    """Return what the system says of the first processor; nothing where it does not tell."""
    first, _, _ = _read(root / "proc/cpuinfo").partition("\n\n")
    named = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in named}


def _flags(processor: dict[str, str]) -> list[str]:
    return processor.get("flags", "").split()


def _cgroup_cpus(root: Path, unlimited: int) -> int:
    """Return the processors' worth of time that the tightest limit leaves, rounded up."""
    limits = [unlimited]
    for group in _cgroups(root):
        quota, _, period = _read(root / "sys/fs/cgroup" / group / "cpu.max").partition(" ")  # "max 100000"
        if not quota:  # version 1, where -1 is no limit
            quota = _read(root / "sys/fs/cgroup/cpu" / group / "cpu.cfs_quota_us")
            period = _read(root / "sys/fs/cgroup/cpu" / group / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period) > 0:
            limits.append(math.ceil(int(quota) / int(period)))
    return min(limits)


def _cgroups(root: Path) -> set[str]:
    """Return the control groups that limit this process: its own, which systemd makes, and all above it."""
    groups = {""}  # a container sees its own as the root
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)  # version 2: "0::/a/b"; version 1: "4:cpu,cpuacct:/a/b"
        if not controllers or "cpu" in controllers.split(","):
            groups |= {str(group).strip("/") for group in (PurePosixPath(path), *PurePosixPath(path).parents)}
    return groups


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
