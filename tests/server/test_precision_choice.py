"""Which configuration the launcher takes by itself."""

from pathlib import Path

import pytest
from sadtalker_runtime.manifest import Manifest, write_manifest
from sadtalker_runtime.processor import Processor, this_processor
from sadtalker_server._precision import fastest_configuration

OLD, AVX, AMX = (Processor("", extensions, 2) for extensions in ((), ("avx512_bf16",), ("amx_bf16",)))


def manifest(precision: str, gates: dict[str, bool]) -> Manifest:
    return Manifest("demo", "0", precision, 256, "0", models={}, gates=gates)


@pytest.mark.parametrize(
    ("processor", "precision", "gates", "expected"),
    [
        (AVX, "bf16", {"bf16": True}, "bf16"),
        (AMX, "bf16", {"bf16": True}, "bf16"),
        (OLD, "bf16", {"bf16": True}, None),
        (AVX, "bf16", {"bf16": False}, None),
        (AVX, "bf16", {}, None),
        (AVX, "fp32", {"bf16": True}, None),
        (AVX, "fp16", {"bf16": True}, None),
    ],
)
def test_bf16_is_served_where_processor_export_and_gate_allow_it(
    processor: Processor, precision: str, gates: dict[str, bool], expected: str | None, tmp_path: Path
) -> None:
    write_manifest(tmp_path, manifest(precision, gates))
    assert fastest_configuration(tmp_path, processor) == expected


def test_a_native_backend_is_not_asked_for_bf16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_manifest(tmp_path, manifest("bf16", {"bf16": True}))
    binary = tmp_path / "bin" / "tritonserver"
    binary.parent.mkdir()
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(binary.parent))
    for which in ("auto", str(binary)):
        assert fastest_configuration(tmp_path, AMX, tritonserver=which) == "bf16"
    (tmp_path / "backends" / "onnxruntime").mkdir(parents=True)
    for which in ("auto", str(binary)):
        assert fastest_configuration(tmp_path, AMX, tritonserver=which) is None
    assert fastest_configuration(tmp_path, AMX, tritonserver="embedded") == "bf16"


def test_without_a_manifest_nothing_is_chosen(tmp_path: Path) -> None:
    assert fastest_configuration(tmp_path, AMX) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "processor : 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 avx512f amx_bf16\n",
            ("avx2", "avx512f", "amx_bf16"),
        ),
        ("processor : 0\nFeatures : fp asimd bf16 sve\n", ("asimd", "bf16", "sve")),
        ("", ()),
    ],
)
def test_the_processor_tells_its_extensions(text: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    found = this_processor(tmp_path / "cpuinfo")
    assert found.extensions == expected
    assert found.cores >= 1
    assert this_processor(tmp_path / "missing").extensions == ()
