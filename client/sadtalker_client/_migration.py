"""Flags of the original's `inference.py`, answered with what to use here; docs/migration.md is the long form."""

from collections.abc import Sequence

RENAMED = {
    "--source_image": "the first argument, PORTRAIT",
    "--driven_audio": "the second argument, SPEECH",
    "--ref_eyeblink": "--blink-reference VIDEO",
    "--ref_pose": "--pose-reference VIDEO",
    "--result_dir": "-o FILE",
    "--pose_style": "--pose-style N",
    "--expression_scale": "--expression-scale X",
    "--input_yaw": "--yaw SECONDS:DEGREES,...",
    "--input_pitch": "--pitch SECONDS:DEGREES,...",
    "--input_roll": "--roll SECONDS:DEGREES,...",
    "--preprocess": "--crop HOW",
    "--background_enhancer": "--background realesrgan",
    "--face3dvis": "--preview",
    "--enhancer": "--enhance gfpgan or --enhance restoreformer",
}
UNCHANGED = ("--size", "--still")
DROPPED = {
    "--checkpoint_dir": "weights are exported for the server by sadtalker-export",
    "--old_version": "weights are exported for the server by sadtalker-export",
    "--batch_size": "the server chooses batches by itself",
    "--cpu": "set on the server",
    "--verbose": "the server keeps the log",
    **dict.fromkeys(
        [
            *("--net_recon", "--init_path", "--use_last_fc", "--bfm_folder", "--bfm_model"),
            *("--focal", "--center", "--camera_d", "--z_near", "--z_far"),
        ],
        "fixed by the exported networks",
    ),
}


def advice(argv: Sequence[str]) -> str | None:
    """Return what to write instead of the original's flags among `argv`, None if there are none of them."""
    flags = dict.fromkeys(argument.partition("=")[0] for argument in argv)
    answers = [f"{flag} is {RENAMED[flag]} here" for flag in flags if flag in RENAMED]
    answers += [f"{flag} does not exist here ({DROPPED[flag]})" for flag in flags if flag in DROPPED]
    return "; ".join([*answers, "docs/migration.md lists the flags of the original"]) if answers else None
