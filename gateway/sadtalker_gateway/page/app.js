// The page: a picture becomes a living portrait, and what is written or recorded is said by it.

import { Api, inPlainWords } from "./api.js";
import { Face } from "./player.js";
import { addToHistory } from "./history.js";
import { Recorder } from "./recorder.js";

const $ = (id) => document.getElementById(id);
const POLL_MILLISECONDS = 700;

const api = new Api();
const face = new Face($("face"), $("bridge"));
const recorder = new Recorder();
const messages = []; // of the conversation, for the chat model
let features = { qualities: ["low"], chat: false };
let portrait = null;
let answer = null; // the one under way: { controller, ... }

function setState(state, words = "") {
  document.body.dataset.state = state;
  $("status").textContent = words;
  const busy = state === "thinking" || state === "speaking";
  $("stop").hidden = !busy;
  $("send").hidden = busy;
  $("change").hidden = state === "empty" || busy;
  for (const id of ["text", "send", "record"]) $(id).disabled = !portrait || (busy && id !== "text");
}

function showError(error) {
  const message = error?.message ? inPlainWords(error.message) : "";
  $("error").textContent = message;
  $("error").hidden = !message;
  if (error?.status === 401) {
    $("key-field").hidden = false;
    $("key").focus();
  }
}

// ---- what the server offers

async function learnFeatures() {
  features = await api.get("/v1/features");
  const high = document.querySelector('input[name="quality"][value="high"]');
  high.disabled = !features.qualities.includes("high");
  $("quality-note").hidden = !high.disabled;
  $("mode").hidden = !features.chat;
  nameTheBox();
  const { data } = await api.get("/v1/voices");
  $("voice").replaceChildren(...data.map((voice) => new Option(voice.name, voice.id)));
}

function asks() {
  return features.chat && document.querySelector('input[name="mode"]:checked').value === "ask";
}

function nameTheBox() {
  const words = asks() ? "Ask the portrait something…" : "Write what the portrait says…";
  $("text").placeholder = words;
  $("text-label").textContent = words.replace("…", "");
  $("send").textContent = asks() ? "Ask" : "Speak";
}

// ---- the portrait

async function choosePicture(file) {
  if (!file) return;
  showError(null);
  stop();
  setState("preparing", "Looking for the face…");
  $("caption").textContent = "";
  const form = new FormData();
  form.append("image", file);
  if ($("whole").checked) form.append("crop", "full");
  const before = $("backdrop").getAttribute("src");
  const chosen = URL.createObjectURL(file);
  showBehind(chosen);
  try {
    portrait = await (await api.request("/v1/portraits", { method: "POST", form })).json();
    portrait.file = file;
    messages.length = 0;
    const poster = await api.blobUrl(portrait.poster_url);
    face.setPoster(poster);
    showBehind(poster);
    setState("idle", "Coming alive…");
    $("text").focus();
    await comeAlive(portrait);
  } catch (error) {
    showError(error);
    if ($("backdrop").src === chosen) showBehind(before);
    if (document.body.dataset.state === "preparing") setState(portrait ? "idle" : "empty");
    else if (document.body.dataset.state === "idle") $("status").textContent = "";
  } finally {
    URL.revokeObjectURL(chosen);
  }
}

// Blurred, where the picture does not fill the stage, and while the face is being looked for.
function showBehind(url) {
  $("backdrop").hidden = !url;
  if (url) $("backdrop").src = url;
  else $("backdrop").removeAttribute("src");
}

async function comeAlive(chosen) {
  const url = await api.blobUrl(chosen.idle_url);
  if (portrait !== chosen) return;
  face.setIdle(url);
  if (document.body.dataset.state === "idle") $("status").textContent = "";
}

// ---- answers

function stop() {
  answer?.controller.abort();
}

function common() {
  return {
    voice: $("voice").value || null,
    quality: document.querySelector('input[name="quality"]:checked').value,
    pose_style: Number($("pose").value),
  };
}

function say(text) {
  const { voice, quality, pose_style } = common();
  if (asks()) {
    messages.push({ role: "user", content: text });
    const json = { portrait_id: portrait.id, messages, voice, quality, options: { pose_style } };
    return perform("/v1/chat?stream=true", { json }, text);
  }
  const form = videoForm(quality, pose_style);
  form.append("prompt", text);
  if (voice) form.append("voice", voice);
  return perform("/v1/videos?stream=true", { form }, text);
}

function sayRecording(blob) {
  const { quality, pose_style } = common();
  const form = videoForm(quality, pose_style);
  form.append("speech", blob, "recording");
  return perform("/v1/videos?stream=true", { form }, "Your recording");
}

function videoForm(quality, poseStyle) {
  const form = new FormData();
  form.append("portrait_id", portrait.id);
  form.append("quality", quality);
  form.append("pose_style", poseStyle);
  return form;
}

async function perform(path, body, asked) {
  showError(null);
  const mine = { controller: new AbortController(), began: performance.now(), first: null, received: null };
  answer = mine;
  const seconds = () => ((performance.now() - mine.began) / 1000).toFixed(1);
  $("caption").textContent = "";
  $("progress").value = 0;
  face.expectedSeconds = 0;
  setState("thinking", "Thinking…");
  const ticking = setInterval(() => mine.first ?? ($("status").textContent = `Thinking… ${seconds()} s`), 200);
  let video = null;
  const { signal } = mine.controller;
  try {
    const response = await api.request(path, { method: "POST", signal, ...body });
    const location = response.headers.get("Location");
    const watching = watch(location, mine, (news) => (video = news));
    await face.speak(response.body, {
      onFirstPicture: () => {
        mine.first = (performance.now() - mine.began) / 1000;
        document.body.dataset.first = mine.first;
        setState("speaking");
      },
      onReceived: () => {
        mine.received = (performance.now() - mine.began) / 1000;
        document.body.dataset.received = mine.received;
      },
      onStarving: () => (mine.controller.signal.aborted ? 0 : ($("status").textContent = "The rest is being made…")),
      onFlowing: () => ($("status").textContent = ""),
    });
    mine.over = true;
    await watching;
    if (!video || video.status !== "completed") video = await api.get(location);
    if (asks() && video.prompt) messages.push({ role: "assistant", content: video.prompt });
    addToHistory(api, video, { asked, first: mine.first, total: mine.received });
  } catch (error) {
    mine.over = true;
    mine.controller.abort();
    if (error.name !== "AbortError") showError(await reasonOf(error, video));
  } finally {
    clearInterval(ticking);
    if (answer === mine) {
      answer = null;
      face.rest();
      $("caption").textContent = "";
      setState(portrait ? "idle" : "empty");
    }
  }
}

// When a stream breaks off, the video's state knows why.
async function reasonOf(error, video) {
  if (!video || error.status !== undefined) return error;
  try {
    const state = await api.get(`/v1/videos/${video.id}`);
    return state.error ?? error;
  } catch {
    return error;
  }
}

async function watch(location, mine, onNews) {
  while (!mine.over && !mine.controller.signal.aborted) {
    try {
      const video = await api.get(location);
      onNews(video);
      if (mine.over || answer !== mine) return;
      $("progress").value = video.progress;
      $("caption").textContent = video.prompt ?? "";
      if (video.progress > 0) face.expectedSeconds = Number(video.seconds) / (video.progress / 100);
      if (video.status === "completed" || video.status === "failed") return;
    } catch { /* the stream itself tells of lasting trouble */ }
    await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
  }
}

// ---- what people do

$("picture").addEventListener("change", (event) => {
  choosePicture(event.target.files[0]);
  event.target.value = ""; // so that the same picture may be chosen again
});
$("change").addEventListener("click", () => $("picture").click());

for (const kind of ["dragover", "dragleave", "drop"]) {
  $("stage").addEventListener(kind, (event) => {
    event.preventDefault();
    $("stage").classList.toggle("dropping", kind === "dragover");
    if (kind === "drop") choosePicture(event.dataTransfer.files[0]);
  });
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text || !portrait || answer) return;
  $("text").value = "";
  say(text);
});

$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("composer").requestSubmit();
  }
});

document.addEventListener("keydown", (event) => event.key === "Escape" && stop());
$("stop").addEventListener("click", () => {
  stop();
  $("text").focus();
});

$("record").addEventListener("click", async () => {
  try {
    if (!recorder.recording) {
      await recorder.start();
      $("record").setAttribute("aria-pressed", "true");
      $("record").querySelector("span").textContent = "Say it";
      $("status").textContent = "Listening…";
      return;
    }
    const recording = await recorder.stop();
    $("status").textContent = "";
    resetRecord();
    if (portrait && !answer) await sayRecording(recording);
  } catch (error) {
    resetRecord();
    showError(error);
  }
});

function resetRecord() {
  $("record").setAttribute("aria-pressed", "false");
  $("record").querySelector("span").textContent = "Record";
}

$("pose").addEventListener("input", () => ($("pose-number").value = $("pose").value));
$("whole").addEventListener("change", () => portrait && choosePicture(portrait.file));
for (const input of document.querySelectorAll('input[name="mode"]')) input.addEventListener("change", nameTheBox);
$("key-field").addEventListener("submit", (event) => event.preventDefault());
$("key").addEventListener("change", () => {
  api.setKey($("key").value);
  learnFeatures().then(() => showError(null), showError);
});
window.addEventListener("pagehide", stop);

$("record").hidden = !Recorder.available;
setState("empty");
learnFeatures().catch(showError);
