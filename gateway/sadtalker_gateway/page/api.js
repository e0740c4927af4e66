// The gateway's HTTP API, with errors in plain words.

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export class Api {
  key = sessionStorage.getItem("key") || "";

  setKey(key) {
    this.key = key.trim();
    sessionStorage.setItem("key", this.key);
  }

  async request(path, { method = "GET", json, form, signal } = {}) {
    const headers = {};
    if (this.key) headers.Authorization = `Bearer ${this.key}`;
    if (json) headers["Content-Type"] = "application/json";
    let answer;
    try {
      answer = await fetch(path, { method, headers, signal, body: json ? JSON.stringify(json) : form });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, "unreachable", "The server cannot be reached. Is it still running?");
    }
    if (!answer.ok) throw await plainError(answer);
    return answer;
  }

  async get(path) {
    return (await this.request(path)).json();
  }

  async blobUrl(path) {
    return URL.createObjectURL(await (await this.request(path)).blob());
  }
}

async function plainError(answer) {
  let detail = { message: answer.statusText, code: "http_error" };
  try {
    detail = (await answer.json()).error;
  } catch { /* not this API's words: the status has to do */ }
  const wait = answer.headers.get("Retry-After");
  if (answer.status === 401) detail.message = "This server asks for an access key.";
  if (answer.status === 413) detail.message = "This file is too large for the server.";
  if ((answer.status === 429 || answer.status === 503) && wait) {
    detail.message = `The server is busy or not ready. Please try again in ${wait} seconds.`;
  }
  return new ApiError(answer.status, detail.code, inPlainWords(detail.message));
}

// "image: expected a face, got none" reads better as a sentence.
export function inPlainWords(message) {
  const words = message.replace(/^(image|portrait|audio|speech|text|prompt|messages): /, "").trim();
  const sentence = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
}
