"""The published checkpoint files: where they are, how long, and with which SHA-256."""

from dataclasses import replace

from ..errors import UsageError
from .download import RemoteFile

SADTALKER = "https://github.com/OpenTalker/SadTalker/releases/download/v0.0.2-rc"
GFPGAN = "https://github.com/TencentARC/GFPGAN/releases/download/v1.3.0"
REALESRGAN = "https://github.com/xinntao/Real-ESRGAN/releases/download/v0.2.1"
FACEXLIB_0_1 = "https://github.com/xinntao/facexlib/releases/download/v0.1.0"
FACEXLIB_0_2 = "https://github.com/xinntao/facexlib/releases/download/v0.2.2"

CATALOGUE = {
    "256": (
        RemoteFile(
            f"{SADTALKER}/SadTalker_V0.0.2_256.safetensors",
            725066984,
            "c211f5d6de003516bf1bbda9f47049a4c9c99133b1ab565c6961e5af16477bff",
        ),
    ),
    "512": (
        RemoteFile(
            f"{SADTALKER}/SadTalker_V0.0.2_512.safetensors",
            725066984,
            "0e063f7ff5258240bdb0f7690783a7b1374e6a4a81ce8fa33456f4cd49694340",
        ),
    ),
    "motion": (
        RemoteFile(
            f"{SADTALKER}/mapping_00229-model.pth.tar",
            155521183,
            "62a1e06006cc963220f6477438518ed86e9788226c62ae382ddc42fbcefb83f1",
        ),
        RemoteFile(
            f"{SADTALKER}/mapping_00109-model.pth.tar",
            155779231,
            "84a8642468a3fcfdd9ab6be955267043116c2bec2284686a5262f1eaf017f64c",
        ),
    ),
    "enhancer": (
        RemoteFile(
            f"{GFPGAN}/GFPGANv1.4.pth", 348632874, "e2cd4703ab14f4d01fd1383a8a8b266f9a5833dacee8e6a79d3bf21a1b6be5ad"
        ),
    ),
    "background": (
        RemoteFile(
            f"{REALESRGAN}/RealESRGAN_x2plus.pth",
            67061725,
            "49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb",
        ),
    ),
    "detectors": (
        RemoteFile(
            f"{FACEXLIB_0_1}/detection_Resnet50_Final.pth",
            109497761,
            "6d1de9c2944f2ccddca5f5e010ea5ae64a39845a86311af6fdf30841b0a5a16d",
        ),
        RemoteFile(
            f"{FACEXLIB_0_1}/alignment_WFLW_4HG.pth",
            193670248,
            "bbfd137307a4c7debd5c283b9b0ce539466cee417ac0a155e184d857f9f2899c",
        ),
        RemoteFile(
            f"{FACEXLIB_0_2}/parsing_parsenet.pth",
            85331193,
            "3d558d8d0e42c20224f13cf5a29c79eba2d59913419f945545d8cf7b72920de2",
        ),
    ),
}
"""Purpose -> the files it needs: where each is published, its size in bytes and its SHA-256."""


BY_HAND = {"restoreformer": "https://github.com/TencentARC/GFPGAN/releases/download/v1.3.4/RestoreFormer.pth"}
"""Purpose -> where its file is published, of files whose SHA-256 is not known here: they are not downloaded."""


def catalogue(purposes: set[str], mirror: str | None = None) -> list[RemoteFile]:
    """Return the official files for some purposes, which are keys of `CATALOGUE`.

    `mirror` is a URL that takes the place of the published folder. Raises `UsageError` for one that is not HTTP.
    """
    if mirror is not None and not mirror.startswith(("http://", "https://")):
        raise UsageError(f"--mirror: expected a URL that begins with http:// or https://, got {mirror!r}")
    files = [file for purpose in CATALOGUE if purpose in purposes for file in CATALOGUE[purpose]]
    return [replace(file, url=f"{mirror.rstrip('/')}/{file.name}") if mirror else file for file in files]
