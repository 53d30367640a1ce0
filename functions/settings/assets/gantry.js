// What pages do beyond links and forms: parts that bring themselves up to date, the log that
// follows, copying, further rows. Every page works without it.
"use strict";

// Live parts get a "tick" now and then, unless somebody is in the middle of something there.
const TICK = 3000;
setInterval(() => {
  if (document.hidden) return;
  for (const part of document.querySelectorAll("[data-live]")) {
    const busy = part.contains(document.activeElement) || part.querySelector("details[open]");
    if (!busy) htmx.trigger(part, "tick");
  }
}, TICK);

// A run that has ended is shown as a whole: its change, its end, what GitLab shows.
document.addEventListener("htmx:afterSwap", () => {
  const run = document.getElementById("live");
  const log = document.getElementById("log");
  if (run && log && run.dataset.final === "true" && log.dataset.ended === "false") location.reload();
});

document.addEventListener("DOMContentLoaded", () => {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      const before = button.textContent;
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = before; }, 1500);
    });
  }
  for (const button of document.querySelectorAll("[data-add-row]")) {
    button.hidden = false;
    button.addEventListener("click", () => addRow(document.getElementById(button.dataset.addRow)));
  }
  const log = document.getElementById("log");
  if (log) follow(log);
});

function addRow(body) {
  const number = body.children.length;
  const row = body.lastElementChild.cloneNode(true);
  for (const field of row.querySelectorAll("input, select, textarea")) {
    field.name = field.name.replace(/\[\d+\]/, `[${number}]`);
    field.setAttribute("aria-label", field.getAttribute("aria-label").replace(/\d+/, number + 1));
    field.removeAttribute("aria-invalid");
    if (field.type === "checkbox") field.checked = false; else field.value = "";
    if (field.rows) { field.rows = 1; field.placeholder = ""; }
  }
  for (const problem of row.querySelectorAll(".problem")) problem.remove();
  body.append(row);
  row.querySelector("input, textarea").focus();
}

function follow(log) {
  const pause = document.getElementById("log-pause");
  const find = document.getElementById("log-find");
  let next = log.dataset.next;
  let ended = log.dataset.ended === "true";
  let paused = false;
  log.scrollTop = log.scrollHeight;
  find.hidden = false;
  find.addEventListener("input", () => mark(log, find.value));
  if (ended) return;
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Follow" : "Pause";
    if (!paused) look();
  });
  const look = async () => {
    if (paused || ended) return;
    let wait = 1000;
    try {
      const url = new URL(log.dataset.url, location.href);
      if (next) url.searchParams.set("after", next);
      const answer = await fetch(url, { headers: { accept: "application/json" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const part = await answer.json();
      const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
      if (part.html) log.insertAdjacentHTML("beforeend", part.html);
      if (part.html && atEnd) log.scrollTop = log.scrollHeight;
      if (part.html && find.value) mark(log, find.value);
      next = part.next || next;
      ended = part.ended && !part.more;
      if (part.more) wait = 0;
    } catch (error) {
      wait = 5000;
    }
    if (!ended) setTimeout(look, wait);
  };
  look();
}

// Marks what was looked for, and shows the first place.
function mark(log, text) {
  for (const old of log.querySelectorAll("mark")) old.replaceWith(...old.childNodes);
  log.normalize();
  if (text.length < 2) return;
  const wanted = text.toLowerCase();
  const walker = document.createTreeWalker(log, NodeFilter.SHOW_TEXT);
  const places = [];
  for (let node = walker.nextNode(); node && places.length < 500; node = walker.nextNode()) {
    const at = node.data.toLowerCase().indexOf(wanted);
    if (at >= 0) places.push([node, at]);
  }
  places.forEach(([node, at], number) => {
    const range = document.createRange();
    range.setStart(node, at);
    range.setEnd(node, at + wanted.length);
    const found = document.createElement("mark");
    range.surroundContents(found);
    if (number === 0) found.scrollIntoView({ block: "center" });
  });
}
