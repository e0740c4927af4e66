"""Fuzzes the readers of callers' files, guided by coverage: `python benchmarks/fuzz.py [--minutes 10] [--target NAME]`.

libFuzzer, by way of atheris, runs each target in a process of its own, with limits on memory and time, from the valid
files of the corpus on. It sees which lines of our Python are reached; FFmpeg and Pillow are not instrumented. Inputs
that crash, hang or raise anything but InputError are kept in out/fuzz/<target>/ and make the exit code 1.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from types import FunctionType

from fuzz_targets import TARGETS, corpus, survives

OUT = Path(__file__).resolve().parents[1] / "out" / "fuzz"
INSTRUMENTED = ("sadtalker_runtime.media", "sadtalker_runtime.portrait.picture", "sadtalker_runtime.options")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="for all targets together (10)")
    parser.add_argument("--target", choices=TARGETS, nargs="+", default=list(TARGETS), help="what is fuzzed (all)")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations (1)")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        fuzz(args.target[0], args.minutes * 60, args.seed)
        return 0
    codes = {}
    for target in args.target:
        options = [
            f"--target={target}",
            f"--minutes={args.minutes / len(args.target)}",
            f"--seed={args.seed}",
            "--child",
        ]
        codes[target] = subprocess.run([sys.executable, __file__, *options]).returncode
    found = [target for target, code in codes.items() if code]
    print(f"findings: {', '.join(found) or 'none'}")  # noqa: T201
    return int(bool(found))


def fuzz(target: str, seconds: float, seed: int) -> None:
    """Fuzz one target; ends the process."""
    import atheris

    folder = OUT / target
    inputs = folder / "corpus"
    inputs.mkdir(parents=True, exist_ok=True)
    for index, data in enumerate(corpus(target)):
        (inputs / f"valid-{index}").write_bytes(data)
    for name in [name for name in sys.modules if name.startswith(INSTRUMENTED)]:
        module = sys.modules[name]
        own = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == name]
        for owner in (module, *own):
            for attribute, value in list(vars(owner).items()):
                if isinstance(value, FunctionType) and value.__module__ == name:
                    setattr(owner, attribute, atheris.instrument_func(value))
    limits = [
        f"-max_total_time={round(seconds)}",
        "-rss_limit_mb=4096",
        "-timeout=60",
        "-max_len=200000",
        f"-seed={seed}",
    ]
    atheris.Setup(
        [sys.argv[0], str(inputs), *limits, f"-artifact_prefix={folder}/", "-print_final_stats=1"],
        lambda data: survives(target, data) and None,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
