// What pages do beyond links and forms: parts that bring themselves up to date, the log that
// follows, copying, further rows. Every page works without it.
"use strict";

// Live parts get a "tick" now and then, unless somebody is in the middle of something there.
const TICK = 3000;
setInterval(() => {
  if (document.hidden) return;
  for (const part of document.querySelectorAll("[data-live]")) {
    const parts = [part, ...document.querySelectorAll("[data-follows]")];
    const busy = parts.some((p) => p.contains(document.activeElement) || p.querySelector("details[open]"));
    if (!busy) htmx.trigger(part, "tick");
  }
}, TICK);

// A run that has ended is shown as a whole: its change, its end, what GitLab shows.
document.addEventListener("htmx:afterSwap", () => {
  const run = document.getElementById("live");
  const log = document.getElementById("log");
  if (run && log && run.dataset.final === "true" && log.dataset.ended === "false") location.reload();
});

// What a search shows has an address.
document.addEventListener("htmx:afterSwap", (event) => {
  if (!event.detail.requestConfig?.elt.matches?.("[data-in-address]")) return;
  const url = new URL(event.detail.pathInfo.finalRequestPath, location.href);
  for (const [name, value] of [...url.searchParams]) if (!value) url.searchParams.delete(name);
  history.replaceState(history.state, "", url);
});

// All that can be unfolded of a change, at once.
function sayExpand() {
  const button = document.getElementById("expand");
  if (!button) return;
  const all = [...document.querySelectorAll("#resources details")];
  button.hidden = all.length < 2;
  button.textContent = all.every((part) => part.open) ? "Collapse all" : "Expand all";
}
document.addEventListener("htmx:afterSwap", sayExpand);
document.addEventListener("DOMContentLoaded", sayExpand);
document.addEventListener("toggle", sayExpand, true);
document.addEventListener("click", (event) => {
  if (event.target.id !== "expand") return;
  const all = [...document.querySelectorAll("#resources details")];
  const open = !all.every((part) => part.open);
  for (const part of all) part.open = open;
});

// Enter goes on to the next line that was found, Shift+Enter back, on the page that comes too.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing || event.target.id !== "log-find") return;
  const found = document.getElementById("log-found");
  if (found.dataset.wanted !== event.target.value.trim()) return;
  const link = found.querySelector(event.shiftKey ? "[rel=prev]" : "[rel=next]");
  if (!link) return;
  event.preventDefault();
  sessionStorage.setItem("finding", "1");
  link.click();
});

// What a choice suggests for other fields: it goes where nobody has typed.
document.addEventListener("htmx:afterSwap", (event) => {
  for (const hint of event.target.querySelectorAll("[data-fill]")) {
    const field = document.querySelector(`[name="${hint.dataset.fill}"]`);
    if (!field || field === document.activeElement) continue;
    if (field.value !== (field.dataset.suggested || "")) continue;
    field.value = field.dataset.suggested = hint.dataset.value;
  }
});

// What was just done is said once: not to who loads the page again, or is sent its address. What
// became of it may not be known yet.
function sayOnce() {
  const here = new URL(location.href);
  const said = ["done", "made", "state"];
  if (!document.querySelector("[data-pending]")) said.push("asked");
  for (const name of said) here.searchParams.delete(name);
  if (here.href !== location.href) history.replaceState(history.state, "", here);
}
document.addEventListener("htmx:afterSwap", sayOnce);

document.addEventListener("DOMContentLoaded", () => {
  sayOnce();
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      const before = button.textContent;
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = before; }, 1500);
    });
  }
  offerRows();
  const log = document.getElementById("log");
  if (log) follow(log);
  if (log && sessionStorage.getItem("finding")) {
    // Going to the place in the address takes the focus away.
    const find = document.getElementById("log-find");
    addEventListener("load", () => setTimeout(() => find.focus({ preventScroll: true })));
  }
  sessionStorage.removeItem("finding");
  const host = document.querySelector("[name=api_host]");
  const tokenPage = document.getElementById("token-page");
  if (host && tokenPage) host.addEventListener("input", () => {
    const server = host.value.trim().replace(/\/+$|\/api\/v4\/*$/, "");
    if (/^https?:\/\/[^/\s]+/.test(server)) tokenPage.href = server + tokenPage.dataset.path;
  });
});

// Also in parts that have brought themselves up to date.
function offerRows() {
  for (const button of document.querySelectorAll("[data-add-row]")) button.hidden = false;
}
document.addEventListener("htmx:afterSwap", offerRows);
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-add-row]");
  if (button) addRow(document.getElementById(button.dataset.addRow));
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
  for (const said of row.querySelectorAll(".problem, .said")) said.remove();
  body.append(row);
  row.querySelector("input, textarea").focus();
}

function follow(log) {
  const pause = document.getElementById("log-pause");
  const place = document.getElementById("at") || log.querySelector(`[id="${CSS.escape(location.hash.slice(1))}"]`);
  let next = log.dataset.next;
  // More is there already than is shown: it comes when somebody scrolls down to it.
  let behind = log.dataset.behind === "true";
  let ended = log.dataset.ended === "true" && !behind;
  let paused = false;
  if (place) place.scrollIntoView({ block: "center" }); else log.scrollTop = log.scrollHeight;
  log.addEventListener("scroll", earlier(log));
  log.addEventListener("click", (event) => link(log, event));
  if (ended) return;
  pause.hidden = behind;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Follow" : "Pause";
    if (!paused) look();
  });
  const look = async () => {
    if (paused || ended) return;
    const below = log.scrollHeight - log.scrollTop - log.clientHeight;
    if (behind && below > NEAR) {
      log.addEventListener("scroll", look, { once: true });
      return;
    }
    let wait = 1000;
    try {
      const part = await partOf(log, "after", next);
      const atEnd = !behind && log.scrollHeight - log.scrollTop - log.clientHeight < 40;
      if (part.html) log.insertAdjacentHTML("beforeend", part.html);
      if (part.html && atEnd) log.scrollTop = log.scrollHeight;
      next = part.next || next;
      behind = behind && part.more;
      ended = part.ended && !part.more;
      if (part.more) wait = 0;
    } catch (error) {
      wait = 5000;
    }
    if (!ended) setTimeout(look, wait);
  };
  look();
}

// A line's number is its address: the line is pointed out where it is.
function link(log, event) {
  const number = event.target.closest("a.no");
  if (!number || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  log.querySelector("a.here")?.classList.remove("here");
  number.classList.add("here");
  history.replaceState(history.state, "", number.href);
}

// So many pixels before the end of what is shown, what follows is loaded.
const NEAR = 300;

async function partOf(log, where, cursor) {
  const url = new URL(log.dataset.url, location.href);
  if (cursor) url.searchParams.set(where, cursor);
  const answer = await fetch(url, { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

// Loads what comes before the shown lines when somebody scrolls up to them.
function earlier(log) {
  const said = document.getElementById("log-earlier");
  let previous = log.dataset.previous;
  let loading = false;
  return async () => {
    if (!previous || loading || log.scrollTop > NEAR) return;
    loading = true;
    try {
      const part = await partOf(log, "before", previous);
      const fromEnd = log.scrollHeight - log.scrollTop;
      log.insertAdjacentHTML("afterbegin", part.html);
      log.scrollTop = log.scrollHeight - fromEnd;
      previous = part.previous;
      said.hidden = !previous;
    } finally {
      loading = false;
    }
  };
}
