// Shows the reminders of missed calls that are due, on whichever page is open.
"use strict";

(() => {
  const POLL_SECONDS = 30; // a reminder may be set, or a call returned, elsewhere
  const section = document.getElementById("reminders");
  if (!section) return;
  const list = section.querySelector("ul");
  let timer = null;

  function item({ text, href }) {
    const link = document.createElement("a");
    link.href = href;
    link.textContent = text;
    link.dir = "auto";
    const row = document.createElement("li");
    row.append(link);
    return row;
  }

  async function load() {
    clearTimeout(timer);
    let seconds = POLL_SECONDS;
    if (!document.hidden) {
      try {
        const response = await fetch("/reminders", { headers: { Accept: "application/json" } });
        if (response.status === 401 || response.status === 403) return; // signed out
        if (response.ok) {
          const reminders = await response.json();
          const rows = reminders.data.map(item);
          const newContent = rows.map((row) => row.outerHTML).join("");
          // A screen reader reads what changes, and nothing twice.
          if (newContent !== list.innerHTML) list.replaceChildren(...rows);
          section.hidden = rows.length === 0;
          if (reminders.seconds !== null) seconds = Math.min(seconds, Math.max(1, reminders.seconds));
        }
      } catch {
        // No connection: the next poll tries again.
      }
    }
    timer = setTimeout(load, 1000 * seconds);
  }

  document.addEventListener("visibilitychange", load);
  load();
})();
