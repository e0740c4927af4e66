"""Speech synthesis and chat: eSpeak NG, OpenAI-compatible endpoints, sentences while they are written."""

import io
import struct
import wave

import espeakng_loader
import pytest
from openai_double import OpenAIDouble, tone
from sadtalker_gateway.speech import SentenceCutter, SpeechError, split_sentences
from sadtalker_gateway.speech.espeak_process import Espeak
from sadtalker_gateway.speech.sentences import LONGEST
from sadtalker_gateway.speech.wav import fit_to_frames, joined
from served import until
from talking_triton import FACE, inputs_of, sound_frames


@pytest.fixture
def openai():
    """Yield a local server of OpenAI's protocols."""
    double = OpenAIDouble()
    yield double
    double.close()


def seconds(wav: bytes) -> float:
    with wave.open(io.BytesIO(wav)) as recording:
        return recording.getnframes() / recording.getframerate()


def test_speech_is_what_a_video_would_say(common):
    one = common.http.post("/v1/speech", json={"input": "Hello there."})
    assert (one.status_code, one.headers["content-type"]) == (200, "audio/wav")
    assert 0.5 < seconds(one.content) < 2
    slow = common.http.post("/v1/speech", json={"input": "Hello there.", "speed": 0.5})
    assert seconds(slow.content) > 1.5 * seconds(one.content)
    two = common.http.post("/v1/speech", json={"input": "Hello there. Hello there."})
    assert seconds(two.content) > 2 * seconds(one.content)
    german = common.http.post("/v1/speech", json={"input": "Hello there.", "language": "de"})
    assert german.content != one.content


def test_voices_are_listed_and_another_one_is_refused(common):
    voices = common.http.get("/v1/voices").json()
    ids = [voice["id"] for voice in voices["data"]]
    assert (voices["synthesizer"], ids[:2]) == ("espeak-ng", ["en-us", "en-us+f3"])
    assert len(ids) > 200
    for voice in ("de+f3", "zh", "en-gb", "EN"):
        assert common.http.post("/v1/speech", json={"input": "Hi.", "voice": voice}).status_code == 200
    for voice in ("nobody", "../../etc/passwd", "en-us+../x"):
        answer = common.http.post("/v1/speech", json={"input": "Hi.", "voice": voice})
        assert answer.status_code == 400
        assert "voice: expected an id of /v1/voices" in answer.json()["error"]["message"]


def test_every_listed_voice_speaks():
    espeak = Espeak(str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path()))
    mute = [voice["id"] for voice in espeak.voices() if not espeak.say("1 2 3", voice["id"] + "+f3", 165)]
    assert mute == []


@pytest.mark.parametrize(
    "text", ["a" * 5000, "[[h@l'oU]] <speak>&amp;</speak> \x01 \U0001f600 ok", "字" * 900, "\ufffd x"]
)
def test_strange_text_is_spoken_or_refused(common, text):
    assert common.http.post("/v1/speech", json={"input": text}).status_code == 200


def test_an_openai_compatible_endpoint_speaks(serve, openai, triton):
    gateway = serve(speech_url=openai.url, speech_key="a key", speech_model="kokoro", speech_voices=["nova", "echo"])
    assert [voice["id"] for voice in gateway.http.get("/v1/voices").json()["data"]] == ["nova", "echo"]
    fields = {"prompt": "Ten letter. And now twenty more of them.", "voice": "echo", "speed": "1.5"}
    video = gateway.finished(gateway.http.post("/v1/videos", data=fields, files={"portrait": FACE}).json())
    assert video["status"] == "completed", video
    bodies = sorted((body for _, _, body in openai.requests), key=lambda body: len(body["input"]))
    assert [body["input"] for body in bodies] == ["Ten letter.", "And now twenty more of them."]
    assert {key: bodies[0][key] for key in ("model", "voice", "response_format", "speed")} == {
        "model": "kokoro", "voice": "echo", "response_format": "wav", "speed": 1.5,
    }  # fmt: skip
    assert {key for _, key, _ in openai.requests} == {"Bearer a key"}
    frames = sorted(sound_frames(inputs_of(request)["audio"]) for request in triton.requests)
    assert frames == [32, 80]  # 1.1 and 2.8 s with their pauses, in steps of 8
    openai.status = 402
    video = gateway.finished(gateway.http.post("/v1/videos", data=fields, files={"portrait": FACE}).json())
    assert video["error"]["code"] == "speech_failed"
    assert "402" in video["error"]["message"]


def test_a_reply_is_shown_while_it_is_being_written(serve, openai, triton):
    gateway = serve(chat_url=openai.url, chat_model="some-model", chat_system_prompt="Be kind.")
    portrait = gateway.portrait()
    assert gateway.http.get("/v1/features").json()["chat"] is True
    openai.held_from = 3  # the end of the second sentence
    messages = [
        {"role": "user", "content": "Hello?"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "Can you?"},
    ]
    body = {"portrait_id": portrait, "messages": messages, "options": {"pose_style": 4, "yaw": [[0, 0], [1, 5]]}}
    with gateway.http.stream("POST", "/v1/chat?stream=true", json=body) as answer:
        assert answer.status_code == 200
        pieces = answer.iter_bytes()
        first = next(pieces)  # the first sentence's video, while the model is still at the second
        state = gateway.http.get(answer.headers["location"]).json()
        assert (state["status"], state["prompt"]) == ("in_progress", "Of course.")
        openai.gate.set()
        rest = b"".join(pieces)
    assert rest and first
    state = gateway.finished(state)
    assert (state["status"], state["prompt"]) == ("completed", "Of course. The second sentence.")
    ((_, _, asked),) = openai.requests
    assert asked["messages"] == [{"role": "system", "content": "Be kind."}, *messages]
    assert asked["model"] == "some-model"
    assert inputs_of(triton.requests[-1])["pose_style"] == struct.pack("<i", 4)


def test_without_a_chat_model_the_message_is_repeated(common):
    body = {"portrait_id": common.portrait(), "messages": [{"role": "user", "content": "Say this."}]}
    created = common.http.post("/v1/chat", json=body)
    assert created.status_code == 202
    assert common.finished(created.json())["prompt"] == "Say this."
    body["messages"][0]["role"] = "assistant"
    assert common.http.post("/v1/chat", json=body).status_code == 400


def test_a_chat_model_that_fails_is_told(serve, openai):
    gateway = serve(chat_url=openai.url)
    openai.status = 400
    body = {"portrait_id": gateway.portrait(), "messages": [{"role": "user", "content": "Hi."}]}
    answer = gateway.http.post("/v1/chat?stream=true", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "chat_failed")


def test_text_is_cut_where_sentences_end():
    assert split_sentences("Mr. Smith is 3.5 m tall. Really?! - Yes.\n\n* An *item*\n...") == [
        "Mr. Smith is 3.5 m tall.", "Really?!", "- Yes.", "An item",
    ]  # fmt: skip
    assert split_sentences("你好。今天天气很好！", "zh") == ["你好。", "今天天气很好！"]
    long = split_sentences("word, " * 200 + "x" * 1000 + ".")
    assert max(map(len, long)) <= LONGEST
    assert "".join(long).replace(" ", "") == "word," * 200 + "x" * 1000 + "."


def test_growing_text_is_cut_as_soon_as_the_next_sentence_begins():
    cutter, text = SentenceCutter(), "It is 3.5 metres. Is it? Yes"
    cut = [(index, sentence) for index, letter in enumerate(text) for sentence in cutter.feed(letter)]
    assert [sentence for _, sentence in cut] == ["It is 3.5 metres.", "Is it?"]
    assert [index for index, _ in cut] == [text.index("Is it"), text.index("Yes")]
    assert cutter.end() == ["Yes"]
    assert cutter.end() == []


def test_recordings_are_fitted_to_frames():
    for rate in (16_000, 22_050, 24_000, 44_100):
        fitted = fit_to_frames(tone(1.0, rate))
        assert sound_frames(fitted) == 32
    assert fit_to_frames(b"ID3 something") == b"ID3 something"
    open_sizes = bytearray(tone(0.5))
    open_sizes[4:8] = open_sizes[40:44] = b"\xff\xff\xff\xff"
    assert fit_to_frames(bytes(open_sizes)) == fit_to_frames(tone(0.5))
    assert seconds(joined([tone(0.5), tone(0.5)])) == pytest.approx(1.28 + 0.01, abs=0.001)
    with pytest.raises(SpeechError, match="16-bit WAV of one format"):
        joined([tone(0.5), tone(0.5, 16_000)])


def test_a_crash_of_the_synthesiser_costs_one_request(gateway, monkeypatch):
    synthesizer = gateway.app.state.gateway.synthesizer._synthesizer
    good = synthesizer._command
    crash = [good[0], "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"]
    monkeypatch.setattr(synthesizer, "_command", crash)
    video = gateway.finished(gateway.http.post("/v1/videos", data={"prompt": "Hi."}, files={"portrait": FACE}).json())
    assert video["error"]["code"] == "speech_failed"
    monkeypatch.setattr(synthesizer, "_command", good)
    until(lambda: gateway.http.post("/v1/speech", json={"input": "Hi."}).status_code == 200)
