// One <video> that always shows a living face: the idle loop, or an answer from its first fragment on.
// When its source changes, a canvas with the last picture covers it until the next one is there.

const Source = window.ManagedMediaSource || window.MediaSource;
const KEEP_SECONDS = 10; // of what was played, when the buffer is full
const ENOUGH_SECONDS = 0.15; // ahead, to go on when the server is faster than real time

export class Face {
  #video;
  #bridge;
  #idle = null;
  #speaking = false;
  #turn = 0; // counts what is shown; whoever finds another number has been replaced

  constructor(video, bridge) {
    this.#video = video;
    this.#bridge = bridge;
    this.expectedSeconds = 0; // length of the answer under way, as far as it can be told
    video.disableRemotePlayback = true;
  }

  setPoster(url) {
    this.#idle = null;
    this.#speaking = false;
    this.#turn += 1;
    this.#video.removeAttribute("src");
    this.#video.load();
    this.#video.poster = url;
  }

  setIdle(url) {
    this.#idle = url;
    if (!this.#speaking) this.rest();
  }

  // Go back to the idle loop, or to the poster while there is none.
  rest() {
    this.#turn += 1;
    this.#speaking = false;
    if (!this.#idle) {
      this.#video.pause();
      return;
    }
    this.#cover();
    this.#video.loop = true;
    this.#video.muted = true;
    this.#video.src = this.#idle;
    this.#uncover(this.#turn);
    this.#video.play().catch(() => {});
  }

  // Play a stream of MP4 fragments. Resolves when it has been played to its end or was replaced by something else.
  async speak(body, { onFirstPicture, onReceived, onStarving, onFlowing }) {
    const turn = ++this.#turn;
    this.#speaking = true;
    const reader = body.getReader();
    const { head, type } = await readHead(reader);
    if (!Source || !Source.isTypeSupported(type)) {
      await this.#playWhole(reader, head, turn, onFirstPicture, onReceived);
      return;
    }
    const source = new Source();
    const opened = new Promise((resolve) => source.addEventListener("sourceopen", resolve, { once: true }));
    const video = this.#video;
    this.#cover();
    video.loop = false;
    video.muted = false;
    const url = URL.createObjectURL(source);
    video.src = url;
    await opened;
    URL.revokeObjectURL(url);
    const buffer = source.addSourceBuffer(type);
    const flow = new Flow(video, () => this.expectedSeconds, onStarving, onFlowing);
    this.#uncover(turn, onFirstPicture);
    const over = this.#over(turn);
    try {
      await append(buffer, head, video);
      flow.received();
      video.play().catch(() => {});
      for (let piece; !(piece = await reader.read()).done && turn === this.#turn; flow.received()) {
        await append(buffer, piece.value, video);
      }
      onReceived?.();
      if (turn === this.#turn && source.readyState === "open") source.endOfStream();
      flow.finished();
      if (turn === this.#turn) await over;
    } finally {
      flow.stop();
      reader.cancel().catch(() => {});
    }
  }

  // Without Media Source Extensions: wait for the whole file.
  async #playWhole(reader, head, turn, onFirstPicture, onReceived) {
    const pieces = [head];
    for (let piece; !(piece = await reader.read()).done; ) pieces.push(piece.value);
    onReceived?.();
    if (turn !== this.#turn) return;
    this.#cover();
    this.#video.loop = false;
    this.#video.muted = false;
    this.#video.src = URL.createObjectURL(new Blob(pieces, { type: "video/mp4" }));
    this.#uncover(turn, onFirstPicture);
    this.#video.play().catch(() => {});
    await this.#over(turn);
  }

  // Resolves when what is shown has ended or was replaced.
  #over(turn) {
    return new Promise((resolve) => {
      this.#video.addEventListener("ended", resolve, { once: true });
      this.#video.addEventListener("emptied", () => turn !== this.#turn && resolve());
    });
  }

  #cover() {
    const { videoWidth: width, videoHeight: height } = this.#video;
    if (!width) return;
    this.#bridge.width = width;
    this.#bridge.height = height;
    this.#bridge.getContext("2d").drawImage(this.#video, 0, 0, width, height);
    this.#bridge.classList.add("shown");
  }

  #uncover(turn, then) {
    const shown = () => {
      if (turn !== this.#turn) return;
      this.#bridge.classList.remove("shown");
      then?.();
    };
    if (this.#video.requestVideoFrameCallback) this.#video.requestVideoFrameCallback(shown);
    else this.#video.addEventListener("timeupdate", shown, { once: true });
  }
}

// Where a server is slower than real time, playing stops once instead of stuttering: it goes on when what is ahead
// lasts until the rest will have come.
class Flow {
  constructor(video, expectedSeconds, onStarving, onFlowing) {
    Object.assign(this, { video, expectedSeconds, onStarving, onFlowing });
    this.began = performance.now();
    this.holding = this.complete = false;
    this.starve = () => {
      if (this.complete || this.holding || !this.end()) return;
      this.holding = true;
      video.pause();
      onStarving?.();
    };
    video.addEventListener("waiting", this.starve);
  }

  end() {
    const { buffered } = this.video;
    return buffered.length ? buffered.end(buffered.length - 1) : 0;
  }

  received() {
    if (!this.holding) return;
    const end = this.end();
    const rate = end / Math.max((performance.now() - this.began) / 1000, 0.01);
    const missing = Math.max(this.expectedSeconds() - end, 0);
    const needed = Math.max(missing * (1 / rate - 1), ENOUGH_SECONDS);
    if (end - this.video.currentTime >= needed && this.expectedSeconds() > 0) this.goOn();
  }

  finished() {
    this.complete = true;
    if (this.holding) this.goOn();
  }

  goOn() {
    this.holding = false;
    this.video.play().catch(() => {});
    this.onFlowing?.();
  }

  stop() {
    this.video.removeEventListener("waiting", this.starve);
  }
}

function appended(buffer) {
  return new Promise((resolve, reject) => {
    buffer.addEventListener("updateend", resolve, { once: true });
    buffer.addEventListener("error", () => reject(new Error("The browser could not play this video.")), { once: true });
  });
}

async function append(buffer, data, video) {
  for (;;) {
    try {
      buffer.appendBuffer(data);
      await appended(buffer);
      return;
    } catch (error) {
      if (error.name !== "QuotaExceededError") throw error;
      const end = video.currentTime - KEEP_SECONDS;
      if (end > 0) {
        buffer.remove(0, end);
        await appended(buffer);
      }
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

// The first bytes with the whole header, and the codecs it names.
async function readHead(reader) {
  let head = new Uint8Array();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("The video ended before it began.");
    const joined = new Uint8Array(head.length + value.length);
    joined.set(head);
    joined.set(value, head.length);
    head = joined;
    const end = headerEnd(head);
    if (end) return { head, type: mimeType(head.subarray(0, end)) };
  }
}

function headerEnd(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + 8 <= bytes.length; at += view.getUint32(at)) {
    const length = view.getUint32(at);
    if (length < 8) return 0;
    if (find(bytes.subarray(at + 4, at + 8), "moov") === 0) return at + length <= bytes.length ? at + length : 0;
  }
  return 0;
}

function mimeType(header) {
  const codecs = [];
  const avc = find(header, "avcC");
  if (avc >= 0) {
    const profile = [...header.subarray(avc + 5, avc + 8)].map((byte) => byte.toString(16).padStart(2, "0"));
    codecs.push(`avc1.${profile.join("")}`);
  }
  if (find(header, "mp4a") >= 0) codecs.push("mp4a.40.2");
  return `video/mp4; codecs="${codecs.join(", ")}"`;
}

function find(bytes, word) {
  const codes = [...word].map((letter) => letter.charCodeAt(0));
  for (let at = 0; at + codes.length <= bytes.length; at++) {
    if (codes.every((code, index) => bytes[at + index] === code)) return at;
  }
  return -1;
}
