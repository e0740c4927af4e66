"""The whole command: plans, candidates, report."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sadtalker_compare.cli import main
from sadtalker_compare.errors import ComparisonError
from sadtalker_compare.plan import read_plan

ROOT = Path(__file__).parents[2]


@pytest.fixture
def plan(tmp_path, portrait_path, speech_path):
    """Write a plan of one clip and the given candidates, TOML."""
    shutil.copy(portrait_path, tmp_path / "portrait.jpg")
    shutil.copy(speech_path, tmp_path / "speech.wav")

    def write(candidates: str) -> Path:
        path = tmp_path / "plan.toml"
        clip = '[[clip]]\nname = "clip"\nportrait = "portrait.jpg"\nspeech = "speech.wav"\n'
        path.write_text(clip + candidates)
        return path

    return write


def video(path: Path, portrait: Path, move: float) -> None:
    """Write a video of a portrait that sways."""
    import av
    import cv2

    picture = cv2.cvtColor(cv2.resize(cv2.imread(str(portrait)), (256, 256)), cv2.COLOR_BGR2RGB)
    path.parent.mkdir(exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 256
        for t in range(30):
            matrix = np.float32([[1, 0, move * np.sin(t / 4)], [0, 1, 0]])
            moved = cv2.warpAffine(picture, matrix, (256, 256), borderMode=cv2.BORDER_REPLICATE)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        container.mux(stream.encode())


def test_a_server_and_a_folder_of_videos_are_compared(plan, tiny_server, portrait_path, tmp_path, capsys):
    video(tmp_path / "made" / "clip.mp4", portrait_path, 3.0)
    path = plan(
        f'[[candidate]]\nname = "tiny"\nserver = "{tiny_server.grpc_url}"\noptions = {{ seed = 1 }}\n'
        '[[candidate]]\nname = "swaying"\nvideos = "made"\ngiven = { seconds_per_frame = 9, first_fragment = 60 }\n'
    )
    assert main([str(path), "-o", str(tmp_path / "report")]) == 0
    result = json.loads((tmp_path / "report" / "comparison.json").read_text())
    measured = result["values"]["tiny"]
    assert measured["resolution"] == 256
    assert measured["frame_rate"] == 25
    assert 0 < measured["first_fragment"] <= 22 * measured["seconds_per_frame"]
    assert result["values"]["swaying"]["seconds_per_frame"] == 9
    assert result["left_out"]["memory"].startswith("not known of")
    assert set(result["order"]) == {"tiny", "swaying"}
    assert result["values"]["swaying"]["head_motion"] > 0.5
    page = (tmp_path / "report" / "comparison.html").read_text()
    assert page.count("<img src=\"data:image") >= 6  # fmt: skip
    assert "http" not in page  # it needs no other file
    assert "consistency ratio of groups: 0.0" in capsys.readouterr().out


def test_a_video_without_a_face_counts_as_the_worst(plan, portrait_path, tmp_path, capsys):
    video(tmp_path / "made" / "clip.mp4", portrait_path, 3.0)
    grey = tmp_path / "grey.png"
    Image.new("RGB", (256, 256), (127, 127, 127)).save(grey)
    video(tmp_path / "nobody" / "clip.mp4", grey, 0.0)
    path = plan('[[candidate]]\nname = "nobody"\nvideos = "nobody"\n[[candidate]]\nname = "swaying"\nvideos = "made"\n')
    assert main([str(path), "-o", str(tmp_path / "report")]) == 0
    result = json.loads((tmp_path / "report" / "comparison.json").read_text())
    assert result["values"]["nobody"]["identity"] == 0
    assert result["order"] == ["swaying", "nobody"]
    assert "nobody, clip: image: expected a frontal face" in result["remarks"][0]


def test_a_refusal_of_the_server_is_told_with_the_candidate(plan, tiny_server, tmp_path, capsys):
    path = plan(
        f'[[candidate]]\nname = "one"\nserver = "{tiny_server.grpc_url}"\noptions = {{ pose_style = 99 }}\n'
        f'[[candidate]]\nname = "two"\nserver = "{tiny_server.grpc_url}"\n'
    )
    assert main([str(path), "-o", str(tmp_path / "report")]) == 1
    assert "candidate one: expected a video of every clip, got: pose_style" in capsys.readouterr().err


ONE = '[[candidate]]\nname = "one"\nserver = "127.0.0.1:1"\n'


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        (ONE, "2 candidates or more, got 1 and 1"),
        (ONE + ONE, "a different name for every candidate"),
        (ONE + '[[candidate]]\nname = "two"\n', "one of repository, server, videos, got none"),
        (ONE + '[[candidate]]\nname = "two"\nvideos = "none"\n', "expected the folder"),
        (ONE + '[[candidate]]\nname = "two"\nvideos = "."\n', r"expected the video .*clip.mp4, found none"),
        (ONE + '[[candidate]]\nname = "a/b"\nserver = "x"\n', "a name that can be a file's"),
        (ONE + '[[candidate]]\nname = "two"\nserver = "x"\nvariant = "bf16"\n', "variant only beside repository"),
        (ONE + '[[candidate]]\nname = "two"\nserver = "x"\ngiven = { beauty = 1 }\n', "numbers for criteria"),
        (ONE + '[[candidate]]\nname = "two"\nserver = "x"\ngiven = { memory = nan }\n', "got memory = nan"),
        (ONE + '[[candidate]]\nname = "two"\nserver = "x"\nphotos = ["no.jpg"]\n', "a file for photos"),
        (ONE + '[[candidate]]\nname = "two"\nserver = "x"\nspeed = 3\n', "got speed"),
        ("[judgement]\n", "expected the keys candidate, clip, judgements, got judgement"),
        ('[clip]\nname = "x"\n', "expected a TOML file"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused_before_the_work(plan, candidates, message):
    with pytest.raises(ComparisonError, match=message):
        read_plan(plan(candidates))


def test_a_missing_plan_is_one_line_on_stderr(tmp_path, capsys):
    assert main([str(tmp_path / "no.toml")]) == 1
    assert capsys.readouterr().err.startswith("sadtalker-compare: ")


def test_the_worked_example_can_be_read():
    text = (ROOT / "comparison" / "own_variants.toml").read_text()
    assert "judgements" not in text  # it uses the package's own
    assert text.count("[[candidate]]") >= 4
