"""`make gpu-proof`, its pure parts: wheels in pieces, what is done already, where nodes ran, who is late."""

import hashlib
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import gpu_placement
import gpu_proof
import gpu_served
import pytest
import wheels
from sadtalker_export.errors import UsageError

WHEEL = "tiny_package-1.0-py3-none-any.whl"
METADATA = "Metadata-Version: 2.1\nName: tiny-package\nVersion: 1.0\n"
TAGS = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a folder with one wheel, in three pieces, and its checksum."""
    whole = tmp_path / WHEEL
    with zipfile.ZipFile(whole, "w") as file:
        file.writestr("tiny_package.py", f"text = {'x' * 500!r}\n")
        file.writestr(
            "tiny_package-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-package\nVersion: 1.0\n"
        )
        file.writestr(
            "tiny_package-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr("tiny_package-1.0.dist-info/RECORD", "")
    data = whole.read_bytes()
    whole.unlink()
    (tmp_path / "wheels").mkdir()
    third = len(data) // 3
    for at, part in enumerate((data[:third], data[third : 2 * third], data[2 * third :])):
        (tmp_path / "wheels" / f"{WHEEL}.{at:03}").write_bytes(part)
    (tmp_path / "wheels" / "SHA256SUMS").write_text(f"{hashlib.sha256(data).hexdigest()}  {WHEEL}\n")
    return tmp_path / "wheels"


def test_wheels_in_pieces_are_joined_checked_and_installed_once(folder: Path, tmp_path: Path) -> None:
    python = wheels.install(folder, tmp_path / "build", gpu_proof.CHECKOUT)
    # Isolated, as Triton's stub is: packages of the wheels, of the checkout and of the Python that runs this.
    code = "import tiny_package, sadtalker_runtime, numpy; print(len(tiny_package.text), sadtalker_runtime.__file__)"
    told = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True).stdout
    assert told == f"500 {gpu_proof.ROOT}/server/sadtalker_runtime/__init__.py\n"
    mark = python.parent / "mark"
    mark.touch()
    assert wheels.install(folder, tmp_path / "build", gpu_proof.CHECKOUT) == python
    assert mark.exists(), "the same wheels are not installed again"
    (folder / "SHA256SUMS").write_text("")
    with pytest.raises(UsageError, match="expected a line for tiny_package"):
        wheels.install(folder, tmp_path / "build")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / f"{WHEEL}.001").unlink(), rf"expected the piece {WHEEL}.001, found {WHEEL}.002 next"),
        (lambda f: (f / f"{WHEEL}.002").unlink(), "a piece is missing or damaged"),
        (lambda f: (f / f"{WHEEL}.000").write_bytes(b"x"), "a piece is missing or damaged"),
        (lambda f: [p.unlink() for p in f.glob("*.whl.*")], "found neither"),
        (lambda f: (f / "SHA256SUMS").unlink(), "found no file"),
        (lambda f: (f / "SHA256SUMS").write_text("abc  x.whl\n"), "expected lines of a SHA-256"),
    ],
)
def test_a_damaged_folder_of_wheels_is_refused(folder: Path, tmp_path: Path, spoil: object, message: str) -> None:
    spoil(folder)  # type: ignore[operator]
    with pytest.raises(UsageError, match=message):
        wheels.joined(folder, tmp_path / "joined")
    assert not list((tmp_path / "joined").glob("*")) if (tmp_path / "joined").is_dir() else True


def settings(tmp_path: Path) -> gpu_proof.Settings:
    return gpu_proof.Settings("cpu", "tiny", True, tmp_path / "repository", "tiny_cpu", Path(sys.executable))


def step(code: str) -> gpu_proof.Step:
    """Make a step that appends to a file beside the results, then runs some code with `path` of its result."""
    count = "import json, sys, pathlib; path = pathlib.Path(sys.argv[1]); "
    count += "open(path.parent.parent / 'runs', 'a').write('x'); "
    return gpu_proof.Step("try", lambda s, output: [sys.executable, "-c", count + code, str(output)])


def test_a_step_is_run_again_only_where_something_has_changed(tmp_path: Path) -> None:
    good, environment = step("path.write_text(json.dumps({'figure': 1}))"), gpu_proof.step_environment()
    proof: dict[str, object] = {"sources": "a", "gpu": None, "quick": True}

    def run(proof: dict[str, object]) -> str:
        return gpu_proof.run_step(good, settings(tmp_path), tmp_path, proof, environment)

    assert run(proof).startswith("done in ")
    assert run(proof) == "skipped: its result is there"
    for change in ({"sources": "b"}, {"gpu": "NVIDIA H200"}, {"quick": False}):
        assert run({**proof, **change}).startswith("done in ")
    assert (tmp_path / "runs").read_text() == "x" * 4
    result = json.loads((tmp_path / "try_tiny_cpu.json").read_text())
    assert result["figure"] == 1 and result["proof"]["sources"] == "a" and result["hardware"]["cores"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_a_failed_step_left_is_kept_but_does_not_count(tmp_path: Path) -> None:
    bad, environment = step("path.write_text('{}'); sys.exit(3)"), gpu_proof.step_environment()
    for _ in range(2):
        assert gpu_proof.run_step(bad, settings(tmp_path), tmp_path, {"sources": "a"}, environment) == "failed with 3"
    assert json.loads((tmp_path / "try_tiny_cpu.json").read_text())["proof"]["failure"] == "failed with 3"


def test_a_proof_is_repeated_from_where_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = step("path.write_text('{}')")
    broken = step("sys.exit(0 if (path.parent.parent / 'mended').exists() else 3)")
    steps = {"first": replace(sound, name="first"), "second": replace(broken, name="second", has_result=False)}
    monkeypatch.setattr(gpu_proof, "STEPS", {**steps, "third": replace(sound, name="third")})
    options = ["--device", "cpu", "--preset", "tiny", "--quick", "--output", str(tmp_path)]

    def steps_of(code: int) -> list[str]:
        assert gpu_proof.main(options) == code
        (told,) = tmp_path.glob("proof_*.json")
        return [outcome.split()[0] for outcome in json.loads(told.read_text())["steps"].values()]

    assert steps_of(1) == ["done", "failed", "done"]
    (tmp_path / "mended").touch()
    assert steps_of(0) == ["skipped:", "done", "skipped:"]
    assert (tmp_path / "runs").read_text() == "x" * 4


def test_a_step_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_proof, "LIMIT_SECONDS", 1)
    slow, environment = step("import time; time.sleep(100)"), gpu_proof.step_environment()
    assert gpu_proof.run_step(slow, settings(tmp_path), tmp_path, {}, environment) == "stopped after 1 s"


def test_sources_are_told_apart_by_their_content(tmp_path: Path) -> None:
    for name in ("benchmarks", "model_repository"):
        (tmp_path / name).mkdir()
    file = tmp_path / "benchmarks" / "a.py"
    file.write_text("1")
    before = gpu_proof.sources_digest(tmp_path)
    (tmp_path / "benchmarks" / "results.json").write_text("{}")
    assert gpu_proof.sources_digest(tmp_path) == before
    file.write_text("2")
    assert gpu_proof.sources_digest(tmp_path) != before


def test_every_step_has_a_command(tmp_path: Path) -> None:
    quick = settings(tmp_path)
    for name, step in gpu_proof.STEPS.items():
        for chosen in (quick, replace(quick, quick=False, device="cuda", preset="official")):
            program, script, *arguments = step.command(chosen, tmp_path / f"{name}.json")
            assert Path(program) == Path(sys.executable) and Path(script).is_file()
            assert "official" not in arguments or chosen is not quick


@pytest.mark.timeout(600)
def test_steps_of_the_exported_networks_run_to_their_end(tiny_repository: Path, tmp_path: Path) -> None:
    options = ["--device", "cpu", "--preset", "tiny", "--quick", "--output", str(tmp_path)]
    steps = ["--steps", "placement", "served", "--repository", str(tiny_repository)]
    assert gpu_proof.main([*options, *steps]) == 0
    placement, served = (
        json.loads(next(tmp_path.glob(f"{name}_*.json")).read_text()) for name in ("placement", "served")
    )
    assert placement["preset"] == "tiny" and not placement["fallbacks"] and placement["networks"]["face_renderer"]
    assert [row["streams"] for row in served["at_once"]] == [1, 2]


def node(name: str, operator: str, provider: str, shape: list[int], duration: int = 1000) -> dict[str, object]:
    details = {"op_name": operator, "provider": provider, "output_type_shape": [{"float": shape}]}
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": duration, "args": details}


def test_nodes_beside_the_gpu_are_fallbacks_unless_they_compute_shapes() -> None:
    cuda, cpu = "CUDAExecutionProvider", "CPUExecutionProvider"
    events = [
        {"cat": "Session", "name": "model_run", "dur": 9000, "args": {}},
        {"cat": "Node", "name": "conv_fence_before", "dur": 5, "args": {"op_name": "Conv", "provider": cuda}},
        node("conv", "Conv", cuda, [1, 64, 64, 64]),
        node("conv", "Conv", cuda, [1, 64, 64, 64]),  # a second run
        node("size", "Gather", cpu, []),
        node("sizes", "Concat", cpu, [4]),
        node("joined", "Concat", cpu, [1, 64, 64, 64], 2000),
        node("sampled", "GridSample", cpu, [2]),
        node("copy", "MemcpyToHost", cuda, [4]),
    ]
    assert gpu_placement.placement(events, cuda) == {
        "nodes": {cpu: 4, cuda: 2},
        "ms": {cpu: 5.0, cuda: 3.0},
        "fallbacks": {"Concat": 1, "GridSample": 1},
        "copies": 1,
    }


def test_a_stream_is_late_by_its_latest_fragment() -> None:
    assert gpu_served.lateness([(2.0, 5)]) == 0
    assert gpu_served.lateness([(2.0, 5), (2.2, 10), (2.1, 15)]) == pytest.approx(0)
    assert gpu_served.lateness([(2.0, 5), (2.5, 10), (2.6, 15)]) == pytest.approx(0.3)


def test_speech_has_the_length_asked_for() -> None:
    for seconds in (0.4, 30):
        assert len(gpu_served.speech_of(seconds)) == pytest.approx(44 + 32_000 * seconds, abs=64)
