"""Committed text is what `make generate` writes, and the generator leaves nothing old behind."""

import shutil
from pathlib import Path

import pytest
from sadtalker_runtime import generate
from sadtalker_runtime.configurations.pbtxt import ConfigText

ROOT = Path(__file__).resolve().parents[1]
STALE = "stale: run `make generate`"
CONFIGURATIONS = generate.configurations(ROOT / "model_repository")


def test_committed_configurations_are_what_the_generator_writes() -> None:
    assert [str(path) for path, wanted in CONFIGURATIONS.items() if not generate.is_current(path, wanted)] == [], STALE
    known = set(CONFIGURATIONS)
    assert set((ROOT / "model_repository").glob("*/configs/*")) <= known, STALE


def test_committed_tables_are_what_the_generator_writes() -> None:
    for path, text in generate.documents(ROOT).items():
        assert path.read_text() == text, f"{path} is {STALE}"


def test_the_generator_mends_a_checkout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ignored = shutil.ignore_patterns("*.onnx", "*.plan", "exported.json")
    shutil.copytree(ROOT / "model_repository", tmp_path / "model_repository", symlinks=True, ignore=ignored)
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("*.png"))
    shutil.copy(ROOT / "README.md", tmp_path)
    configs = tmp_path / "model_repository" / "motion" / "configs"
    (configs / "old.pbtxt").write_text("")
    (configs / "a100.pbtxt").unlink()
    (configs / "a100.pbtxt").write_text((configs / "tensorrt.pbtxt").read_text())
    (configs / "tensorrt.pbtxt").write_text("edited by hand")
    readme = (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").write_text(readme.replace("| `pose_style` | 0 to 45", "| `pose_style` | 0 to 44"))

    assert generate.main(["--root", str(tmp_path)]) == 0
    told = {line.replace(str(tmp_path), "") for line in capsys.readouterr().out.splitlines()}
    motion = "/model_repository/motion/configs"
    assert told == {
        f"removed {motion}/old.pbtxt",
        f"wrote {motion}/a100.pbtxt",
        f"wrote {motion}/tensorrt.pbtxt",
        "wrote /README.md",
    }
    assert (configs / "a100.pbtxt").readlink() == Path("tensorrt.pbtxt")
    assert (tmp_path / "README.md").read_text() == readme
    assert generate.main(["--root", str(tmp_path)]) == 0 and capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "path", sorted((ROOT / "model_repository").glob("*/config.pbtxt")), ids=lambda p: p.parent.name
)
def test_a_configuration_survives_being_taken_apart(path: Path) -> None:
    assert str(ConfigText.parse(path.read_text())) == path.read_text()


def test_fields_are_replaced_added_and_dropped() -> None:
    parameter = 'parameters { key: "k" value: { string_value: "1" } }'
    text = '# On top.\nname: "n" # not a bracket: {\n\n# Why.\na { b: 1\n}\n' + parameter + "\n"
    config = ConfigText.parse(text)
    assert config.header == "# On top.\n"
    assert [name for name, _ in config.fields] == ["name", "a", "parameters.k"]
    changed = config.put("a", "a { b: 2 }").put("c", "c: 3", after="name").drop("parameters.k")
    assert str(changed) == '# On top.\nname: "n" # not a bracket: {\nc: 3\na { b: 2 }\n'
    assert changed.body == 'name: "n" # not a bracket: {\nc: 3\na { b: 2 }'
    with pytest.raises(ValueError, match="field a: expected its end"):
        ConfigText.parse('name: "n"\na {\n')
    with pytest.raises(ValueError, match="expected a field at the beginning of a line, got '}'"):
        ConfigText.parse("} \n")
