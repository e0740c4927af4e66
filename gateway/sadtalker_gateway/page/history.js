// What was said so far, with the time it took and where to get it.

export function addToHistory(api, video, { asked, first, total }) {
  document.getElementById("nothing").hidden = true;
  const entry = document.createElement("li");
  if (video.prompt && video.prompt !== asked) entry.append(paragraph("asked", asked));
  entry.append(paragraph("said", video.prompt ?? asked));
  const times = [`${Number(video.seconds).toFixed(1)} s of video`];
  if (first !== null) times.unshift(`first picture after ${first.toFixed(1)} s`);
  if (total !== null) times.push(`complete after ${total.toFixed(1)} s`);
  entry.append(paragraph("times", times.join(", ")));
  if (video.url) entry.append(links(api, video));
  document.getElementById("history").prepend(entry);
}

function links(api, video) {
  const line = paragraph("links", "");
  const download = document.createElement("a");
  download.textContent = "Download";
  download.href = video.url;
  download.download = `${video.id}.mp4`;
  download.addEventListener("click", async (event) => {
    if (!api.key || !video.url.startsWith("/")) return; // a plain link will do
    event.preventDefault(); // a link cannot carry the key
    const link = document.createElement("a");
    link.href = await api.blobUrl(video.url);
    link.download = download.download;
    link.click();
  });
  line.append(download);
  return line;
}

function paragraph(kind, text) {
  const element = document.createElement("p");
  element.className = kind;
  element.textContent = text;
  return element;
}
