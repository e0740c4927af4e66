// The microphone, recorded in whatever format the browser has.

export class Recorder {
  #recorder = null;
  #pieces = [];

  static get available() {
    return Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder);
  }

  get recording() {
    return this.#recorder !== null;
  }

  async start() {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch (error) {
      throw new Error(error.name === "NotFoundError" ? "No microphone was found." : "The microphone may not be used.");
    }
    this.#pieces = [];
    this.#recorder = new MediaRecorder(stream);
    this.#recorder.addEventListener("dataavailable", (event) => this.#pieces.push(event.data));
    this.#recorder.start();
  }

  async stop() {
    const recorder = this.#recorder;
    this.#recorder = null;
    const stopped = new Promise((resolve) => recorder.addEventListener("stop", resolve, { once: true }));
    recorder.stop();
    await stopped;
    for (const track of recorder.stream.getTracks()) track.stop();
    return new Blob(this.#pieces, { type: recorder.mimeType });
  }
}
