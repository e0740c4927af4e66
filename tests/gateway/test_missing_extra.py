"""The command without the packages of its extra."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("package", ["uvicorn", "fastapi", "pydantic_settings"])
def test_the_extra_is_named_in_one_line(package: str) -> None:
    command = f"import sys; sys.modules[{package!r}] = None; from sadtalker_gateway.entry import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    expected = f"sadtalker-gateway: the package {package} is missing: run pip install '.[gateway]' in a checkout\n"
    assert done.stderr == expected
