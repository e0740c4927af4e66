"""The processor that networks run on: its name, the extensions that decide their speed, its cores."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

EXTENSIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16", "sve")
"""Flags of /proc/cpuinfo by which engines choose their kernels, of x86-64 and of 64-bit Arm."""
COMPUTE_BF16 = frozenset({"avx512_bf16", "amx_bf16"})
"""Extensions with which the engine computes in bf16 instead of emulating it."""


@dataclass(frozen=True)
class Processor:
    """A processor as an engine sees it; `cores` are those that this process may use."""

    name: str
    extensions: tuple[str, ...]
    cores: int

    @property
    def description(self) -> str:
        """The name and, in parentheses, the extensions."""
        return f"{self.name} ({', '.join(sorted(self.extensions))})"

    @property
    def computes_bf16(self) -> bool:
        """Return whether bf16 is faster than fp32 here."""
        return bool(COMPUTE_BF16 & set(self.extensions))


def this_processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> Processor:
    """Return the processor of this machine; without extensions where the system does not list them."""
    fields: dict[str, str] = {}
    try:
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    name = fields.get("model name") or platform.processor() or platform.machine()
    return Processor(name, tuple(flag for flag in EXTENSIONS if flag in flags), len(os.sched_getaffinity(0)))


def describe_hardware() -> dict[str, object]:
    """Return the processor, its cores and the load before a measurement, for the head of a results file."""
    processor = this_processor()
    return {"cpu": processor.description, "cores": processor.cores, "load_before": round(os.getloadavg()[0], 2)}
