"""The line that the log gets for every video."""

import asyncio
import json
import os

import pytest
from sadtalker_runtime.triton import video_record
from sadtalker_runtime.triton.video_record import VideoRecord


def test_stages_add_up_in_the_video_in_whose_tasks_they_run() -> None:
    async def chunk(seconds: float) -> None:
        await asyncio.sleep(0)
        video_record.add_stage("render", seconds)

    async def video(record: VideoRecord, seconds: float) -> None:
        with video_record.recording(record):
            await asyncio.gather(*(asyncio.create_task(chunk(seconds)) for _ in range(3)))
            await asyncio.to_thread(video_record.add_stage, "encode", 5.0)

    async def run() -> None:
        await asyncio.gather(video(first, 1.0), video(second, 2.0))
        video_record.add_stage("render", 100.0)  # of no video

    first, second = VideoRecord("a"), VideoRecord("b")
    asyncio.run(run())
    assert dict(first.stages) == {"render": 3.0, "encode": 5.0}
    assert dict(second.stages) == {"render": 6.0, "encode": 5.0}


def test_a_line_is_one_line_of_json_whatever_the_caller_sent() -> None:
    record = VideoRecord('a"\n\x1b[31m' + "é" * 200, {"image": 7})
    fields = record.fields("refused", "crop: expected one of\nface, full, got 'secret'")
    line = video_record.formatted(fields, "json")
    assert "\n" not in line
    assert line.isascii()
    told = json.loads(line)
    assert told["request_id"] == 'a"??[31m' + "?" * 56
    assert told["reason"] == "crop: expected one of?face, full"
    assert told["input_bytes"] == {"image": 7}
    assert len(json.loads(video_record.formatted(record.fields("failed", "x" * 10_000), "json"))["reason"]) == 200


def test_text_has_the_same_fields_as_pairs() -> None:
    record = VideoRecord("some id", {"image": 7})
    record.frames = 22
    record.stages["render"] += 1.25
    text = video_record.formatted(record.fields("finished", None), "text")
    assert text.startswith('event="video" time="2')
    assert 'request_id="some id" outcome="finished" frames=22 ' in text
    assert " stage_seconds.render=1.25 " in text
    assert text.endswith(" input_bytes.image=7")


@pytest.mark.parametrize(("how", "expected"), [("json", b'{"a": 1}\n'), ("text", b"a=1\n"), ("off", b"")])
def test_lines_go_to_standard_output(how: str, expected: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    video_record.write({"a": 1}, how)
    assert os.fsencode(capfd.readouterr().out) == expected


def test_an_unknown_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert video_record.log_format() == "json"
    monkeypatch.setenv("SADTALKER_VIDEO_LOG", "xml")
    with pytest.raises(ValueError, match="SADTALKER_VIDEO_LOG: expected one of json, text, off, got 'xml'"):
        video_record.log_format()
