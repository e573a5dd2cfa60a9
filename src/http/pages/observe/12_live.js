"use strict";
// Streams that come back by themselves, and the notice while they are away.
const notice = document.getElementById("notice");
const RETRIES_S = [1, 2, 4, 8];

// EventSource cannot send the key, so the stream is read by hand. Returns never; throws a refusal.
async function follow(path, tell) {
  const { signal } = leaving;
  let last = "", tried = 0;
  for (;;) {
    try {
      const answer = await reach(path, last ? { "Last-Event-ID": last } : {});
      await eachLine(answer.body, (line) => {
        if (line.startsWith("id: ")) last = line.slice(4);
        if (!line.startsWith("data: ")) return;
        tried = 0;
        connected();
        tell(JSON.parse(line.slice(6)));
      });
    } catch (error) {
      if (signal.aborted || (error instanceof Refused && error.status < 500)) throw error;
    }
    const seconds = RETRIES_S[Math.min(tried++, RETRIES_S.length - 1)];
    disconnected(seconds);
    await pause(seconds, signal);
  }
}

async function eachLine(body, tell) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    lines.forEach(tell);
  }
}

function disconnected(seconds) {
  say(state.textContent.replace(", live", ""));
  notice.dataset.since ??= clock(Date.now() * 1e3);
  notice.textContent = `Connection lost. This is how it was at ${notice.dataset.since}. Trying again in ${seconds} s.`;
  notice.hidden = false;
}

function connected() {
  notice.hidden = true;
  delete notice.dataset.since;
}

function pause(seconds, signal) {
  return new Promise((done, fail) => {
    const stop = () => fail(new DOMException("left", "AbortError"));
    if (signal.aborted) return stop();
    signal.addEventListener("abort", stop, { once: true });
    return setTimeout(done, seconds * 1e3);
  });
}

// Call `look` when rows have been recorded, at most once a second.
async function onRows(look, concerns = () => true) {
  let waiting = false;
  const { signal } = leaving;
  await follow("traces/stream", (recorded) => {
    if (waiting || ![recorded].flat().some(concerns)) return;
    waiting = true;
    setTimeout(() => { waiting = false; if (!signal.aborted) look().catch(() => {}); }, 1000);
  });
}
