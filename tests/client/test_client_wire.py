"""The request as it is built, and the contract of the model that it follows."""

import struct
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from sadtalker_client import InvalidInputError, Options, UploadLimits, _options, _wire
from sadtalker_client._wire import build_request
from tritonclient.grpc import model_config_pb2

CONFIG = Path(__file__).parents[2] / "model_repository" / "sadtalker" / "config.pbtxt"


def tensors(**options):
    request = build_request(b"picture", b"sound", options)
    return {
        tensor.name: (tensor.datatype, list(tensor.shape), content)
        for tensor, content in zip(request.inputs, request.raw_input_contents, strict=True)
    }


def test_the_model_configuration_says_the_same():
    config = text_format.Parse(CONFIG.read_text(), model_config_pb2.ModelConfig())

    def datatypes(entries):
        triton = {"TYPE_STRING": "BYTES"}
        names = [(entry.name, model_config_pb2.DataType.Name(entry.data_type)) for entry in entries]
        return {name: triton.get(datatype, datatype.removeprefix("TYPE_")) for name, datatype in names}

    assert config.name == _wire.MODEL
    assert [entry.name for entry in config.input if not entry.optional] == ["image"]
    assert datatypes(config.input) == {**_wire.INPUTS, **_options.DATATYPES}
    assert datatypes(config.output) == _wire.OUTPUTS
    assert config.model_transaction_policy.decoupled
    assert config.max_batch_size == 1
    shapes = {entry.name: tuple(entry.dims) for entry in [*config.input, *config.output]}
    assert {name: shape for name, shape in shapes.items() if shape != (1,)} == _options.SHAPES


def test_every_option_has_a_type_and_a_datatype():
    assert Options.__annotations__.keys() == _options.DATATYPES.keys()


def test_files_are_length_prefixed_bytes():
    assert tensors() == {
        "image": ("BYTES", [1, 1], b"\7\0\0\0picture"),
        "audio": ("BYTES", [1, 1], b"\5\0\0\0sound"),
    }


def test_a_list_of_photos_is_the_portrait_and_the_option_photos():
    listed = build_request([b"one", b"three", b"four"], b"sound", {})
    assert listed == build_request(b"one", b"sound", {"photos": [b"three", b"four"]})
    assert tensors(photos=[b"three", b"four"])["photos"] == ("BYTES", [1, 2], b"\5\0\0\0three\4\0\0\0four")
    assert build_request([b"one"], b"sound", {}) == build_request(b"one", b"sound", {})


@pytest.mark.parametrize(
    ("portrait", "options", "message"),
    [
        ([], {}, "portrait: expected 1 to 8 photos, got 0"),
        ([b"x"] * 9, {}, "portrait: expected 1 to 8 photos, got 9"),
        (b"x", {"photos": [b"y"] * 8}, "photos: expected 1 to 7 besides the portrait, got 8"),
        (b"x", {"photos": b"y"}, "photos: expected a sequence of files, got bytes"),
        (b"x", {"photos": [b"y", b""]}, "photo 3: expected the content of a file, got 0 bytes"),
        ([b"x", b"y"], {"photos": [b"z"]}, "photos: expected a list of portraits or this option, got both"),
    ],
)
def test_photos_that_cannot_be_sent_are_refused(portrait, options, message):
    with pytest.raises(InvalidInputError, match=f"^{message}"):
        build_request(portrait, b"sound", options)


def test_options_are_packed_as_their_datatypes():
    options = {"pose_style": 7, "expression_scale": 1.5, "still": True, "seed": -(2**40), "blink": False, "size": 512}
    packed = tensors(**options, enhance="gfpgan")
    assert {name: packed[name] for name in packed.keys() & _options.DATATYPES} == {
        "pose_style": ("INT32", [1, 1], struct.pack("<i", 7)),
        "expression_scale": ("FP32", [1, 1], struct.pack("<f", 1.5)),
        "still": ("BOOL", [1, 1], b"\1"),
        "seed": ("INT64", [1, 1], struct.pack("<q", -(2**40))),
        "blink": ("BOOL", [1, 1], b"\0"),
        "size": ("INT32", [1, 1], struct.pack("<i", 512)),
        "enhance": ("BYTES", [1, 1], b"\6\0\0\0gfpgan"),
    }


@pytest.mark.parametrize(
    ("value", "shape", "floats"),
    [
        ([(0, 0), (1.5, 20)], [1, 2, 2], (0, 0, 1.5, 20)),
        (np.array([[2, -3.5]]), [1, 1, 2], (2, -3.5)),
        (-12.5, [1, 1, 2], (0, -12.5)),  # a constant is one key frame
    ],
)
def test_curves_are_packed_as_key_frames(value, shape, floats):
    assert tensors(yaw=value)["yaw"] == ("FP32", shape, struct.pack(f"<{len(floats)}f", *floats))


def test_times_are_packed_as_they_are():
    assert tensors(blink_times=[0.5, 2])["blink_times"] == ("FP32", [1, 2], struct.pack("<2f", 0.5, 2))
    assert tensors(blink_times=[])["blink_times"] == ("FP32", [1, 0], b"")


def test_videos_are_read_as_files_are(tmp_path):
    (tmp_path / "face.mp4").write_bytes(b"moving")
    packed = tensors(driving=tmp_path / "face.mp4", pose_reference=b"nodding", idle=2)
    assert packed["driving"] == ("BYTES", [1, 1], b"\6\0\0\0moving")
    assert packed["pose_reference"] == ("BYTES", [1, 1], b"\7\0\0\0nodding")
    assert packed["idle"] == ("FP32", [1, 1], struct.pack("<f", 2))
    with pytest.raises(InvalidInputError, match=r"^blink_reference: cannot read nowhere.mp4: No such file"):
        tensors(blink_reference="nowhere.mp4")


def test_speech_may_be_left_out():
    request = build_request(b"picture", None, {"idle": 2.0}, only="poster")
    assert [(tensor.name, tensor.datatype) for tensor in request.inputs] == [
        ("image", "BYTES"),
        ("idle", "FP32"),
        ("poster", "BOOL"),
    ]
    assert request.raw_input_contents[-1] == b"\1"


def test_an_option_that_does_not_exist_is_a_mistake_in_the_program():
    with pytest.raises(TypeError, match=r"^unexpected option: sede$"):
        tensors(sede=3)


def test_options_that_are_none_are_left_to_the_server():
    assert tensors(pose_style=None, blink=None, seed=0).keys() == {"image", "audio", "seed"}


def test_ranges_are_left_to_the_server():
    assert {"pose_style", "expression_scale"} < tensors(pose_style=46, expression_scale=float("nan")).keys()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("pose_style", "3", "pose_style: expected a 32-bit integer, got '3'"),
        ("pose_style", 3.0, "pose_style: expected a 32-bit integer, got 3.0"),
        ("pose_style", True, "pose_style: expected a 32-bit integer, got True"),
        ("size", 2**31, "size: expected a 32-bit integer, got 2147483648"),
        ("seed", 2**63, "seed: expected a 64-bit integer, got 9223372036854775808"),
        ("expression_scale", "big", "expression_scale: expected a number, got 'big'"),
        ("expression_scale", 1e300, r"expression_scale: expected a number, got 1e\+300"),
        ("enhance", True, "enhance: expected a string, got True"),
        ("still", 1, "still: expected True or False, got 1"),
        ("blink", "no", "blink: expected True or False, got 'no'"),
        ("yaw", "left", "yaw: expected a number or pairs of seconds and degrees, got 'left'"),
        ("roll", [1, 2], r"roll: expected a number or pairs of seconds and degrees, got \[1, 2\]"),
        ("pitch", [(1, 2), (3,)], r"pitch: expected a number or pairs of seconds and degrees, got .*"),
        ("blink_times", 3, "blink_times: expected a sequence of seconds, got 3"),
    ],
)
def test_a_wrong_type_is_named(option, value, message):
    with pytest.raises(InvalidInputError, match=f"^{message}$"):
        tensors(**{option: value})


@pytest.mark.parametrize(
    ("portrait", "message"),
    [
        (b"", r"^portrait: expected the content of a file, got 0 bytes \(bytes\)$"),
        ("nowhere.png", "^portrait: cannot read nowhere.png: No such file or directory$"),
        ("/", "^portrait: cannot read /: Is a directory$"),
        (None, "^portrait: expected bytes or a path, got NoneType$"),
    ],
)
def test_what_cannot_be_read_is_named(portrait, message):
    with pytest.raises(InvalidInputError, match=message):
        build_request(portrait, b"sound", {})


def test_an_empty_file_is_named(tmp_path):
    empty = tmp_path / "speech.wav"
    empty.touch()
    with pytest.raises(
        InvalidInputError, match=r"^speech: expected the content of a file, got 0 bytes \(.*speech.wav\)$"
    ):
        build_request(b"picture", empty, {})


@pytest.mark.parametrize("as_path", [False, True], ids=["bytes", "path"])
@pytest.mark.parametrize(
    ("place", "kind"),
    [("portrait", "picture"), ("speech", "speech"), ("driving", "video"), ("pose_reference", "video")],
)
def test_a_file_beyond_its_limit_is_refused(tmp_path, place, kind, as_path):
    files = {"portrait": b"picture", "speech": b"sound", "driving": b"film", "pose_reference": b"film"}
    sources = files | {place: b"x" * 101}
    if as_path:
        (tmp_path / "large").write_bytes(sources[place])
        sources[place] = tmp_path / "large"

    def build(limit):
        portrait, speech, *videos = sources.values()
        videos = dict(zip(("driving", "pose_reference"), videos, strict=True))
        return build_request(portrait, speech, videos, limits=UploadLimits(**{kind: limit}))

    assert build(101).ByteSize() > 101
    with pytest.raises(InvalidInputError, match=rf"^{place}: expected at most 100 bytes \(.* MiB\), got 101$"):
        build(100)


def test_a_large_file_is_refused_unread_and_an_endless_one_after_its_limit(tmp_path):
    with (tmp_path / "large.wav").open("wb") as file:
        file.truncate(2**36)  # takes no disk
    with pytest.raises(InvalidInputError, match=rf"at most 134217728 bytes \(128 MiB\), got {2**36}"):
        build_request(b"picture", tmp_path / "large.wav", {}, limits=UploadLimits())
    with pytest.raises(InvalidInputError, match=r"at most 1000 bytes .*, got 1001"):
        build_request("/dev/zero", b"sound", {}, limits=UploadLimits(picture=1000))


def test_the_default_limits_are_the_documented_ones():
    limits = UploadLimits()
    assert [limits.picture, limits.speech, limits.video] == [32 << 20, 128 << 20, 512 << 20]


def test_more_than_a_message_can_hold_is_refused(monkeypatch):
    monkeypatch.setattr(_wire, "_MAX_REQUEST_BYTES", 11)
    with pytest.raises(InvalidInputError, match="expected at most 11 bytes together, got 20"):
        tensors()
