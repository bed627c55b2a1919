// What the page does beyond forms and links; without it everything can still be seen and done.
"use strict";

// Light or dark, as the visitor chose; the server reads the cookie, so that no page flashes in the other one.
const toggle = document.querySelector("[data-theme-toggle]");
if (toggle) {
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    document.cookie = `xks_preflight_theme=${root.dataset.theme}; Path=/; SameSite=Strict; Max-Age=31536000`;
  });
}

// How far away instants are.
const distance = (at) => {
  const seconds = Math.floor((Date.now() - at) / 1000);
  const away = Math.abs(seconds);
  if (seconds >= 0 && away < 5) return "just now";
  const amount =
    away < 60 ? `${away} s` : away < 3600 ? `${Math.floor(away / 60)} min` : away < 86400 ? `${Math.floor(away / 3600)} h` : `${Math.floor(away / 86400)} d`;
  return seconds >= 0 ? `${amount} ago` : `in ${amount}`;
};
setInterval(() => {
  for (const time of document.querySelectorAll("time[data-ago]")) time.textContent = distance(Date.parse(time.dateTime));
}, 5000);

// Whether the visitor is in the middle of something that a fresh page would take away.
const busy = () => {
  const active = document.activeElement;
  return document.querySelector("main details.order[open]") !== null || (active !== null && active.matches("main input, main textarea, main select"));
};

// Fetches this page and puts its fresh part in place of the old one.
let fetching = false;
const refresh = async (selector) => {
  if (fetching || busy()) return;
  fetching = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (answer.redirected) return location.reload();
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector(selector);
    const old = document.querySelector(selector);
    if (!fresh || !old || busy()) return;
    const open = [...old.querySelectorAll("details[open][id]")].map((details) => details.id);
    const focused = document.activeElement && old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    old.replaceWith(fresh);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focused) fresh.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  } catch {
    // The daemon is away for a moment: the next time will do.
  } finally {
    fetching = false;
  }
};

const periodic = document.querySelector("[data-refresh]");
if (periodic) {
  setInterval(() => {
    if (!document.hidden) refresh("[data-refresh]");
  }, Number(periodic.dataset.refresh) * 1000);
}

// An update as it goes on: events tell that there is something new, the page says what.
const live = document.querySelector("[data-events]");
if (live) {
  const events = new EventSource(live.dataset.events);
  let seen = Number(live.dataset.seen);
  let timer;
  const look = () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      await refresh("[data-update]");
      const now = document.querySelector("[data-update]");
      const waiting = Number(now?.dataset.seen) < seen;
      const notice = document.querySelector("[data-stale]");
      if (notice) notice.hidden = !waiting;
      if (now?.dataset.final === "true") events.close();
      else if (waiting) look();
    }, 250);
  };
  for (const name of (live.dataset.names ?? "").split(" ")) {
    events.addEventListener(name, (event) => {
      if (Number(event.lastEventId) <= seen) return;
      seen = Number(event.lastEventId);
      look();
    });
  }
}

// Somebody who came from another site has a session that the browser did not send along: once more from here.
const entrance = document.querySelector("form[data-next]");
if (entrance) {
  fetch(entrance.dataset.next, { method: "HEAD", redirect: "manual" })
    .then((answer) => {
      if (answer.ok) location.replace(entrance.dataset.next);
    })
    .catch(() => {});
}

// A pre-flight takes seconds: the form says that it is on its way, and is not sent twice.
for (const form of document.querySelectorAll("form[data-busy]")) {
  form.addEventListener("submit", (event) => {
    if (form.classList.contains("sending")) return event.preventDefault();
    form.classList.add("sending");
    if (event.submitter) event.submitter.textContent = form.dataset.busy;
  });
}

// The file that the KMS console takes, dropped or chosen: it is read here and fills the form.
const drop = document.querySelector("[data-drop]");
if (drop) {
  drop.hidden = false;
  const told = drop.querySelector("[role=status]");
  const take = async (file) => {
    try {
      if (file.size > 65536) throw new Error("it is larger than 64 KiB");
      const document_ = JSON.parse(await file.text());
      const credential = document_.XksProxyAuthenticationCredential ?? {};
      const fields = {
        XksProxyUriPath: document_.XksProxyUriPath,
        XksProxyUriEndpoint: document_.XksProxyUriEndpoint,
        AccessKeyId: credential.AccessKeyId,
        RawSecretAccessKey: credential.RawSecretAccessKey,
      };
      let filled = 0;
      for (const [name, value] of Object.entries(fields)) {
        const field = drop.closest("form").elements.namedItem(name);
        if (field && typeof value === "string") {
          field.value = value;
          filled += 1;
        }
      }
      told.textContent = filled > 0 ? `Taken from ${file.name}: ${filled} fields are filled in.` : `${file.name} has none of the members that the console's file has.`;
    } catch (error) {
      told.textContent = `${file.name} cannot be read: ${error instanceof SyntaxError ? "it is not JSON" : error.message}.`;
    }
  };
  drop.querySelector("input[type=file]").addEventListener("change", (event) => {
    if (event.target.files.length > 0) take(event.target.files[0]);
    event.target.value = "";
  });
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length > 0) take(event.dataTransfer.files[0]);
  });
}
