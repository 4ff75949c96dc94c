// Tells how far a download has come. Without it the links download just the same.
"use strict";

(() => {
  const ASK_MILLISECONDS = 700;
  const TRIES_MAX = 90; // a minute until a large file begins
  const shown = document.getElementById("export-progress");
  if (!shown) return;

  const size = (bytes) => (bytes < 1e6 ? (bytes / 1e3).toFixed(0) + " kB" : (bytes / 1e6).toFixed(1) + " MB");

  async function follow(ticket, name, triesLeft) {
    const answer = await fetch("/exports/" + ticket, { headers: { Accept: "application/json" } });
    if (!answer.ok) return;
    const progress = await answer.json();
    if (progress.is_broken) shown.textContent = name + ": broke off after " + size(progress.sent_bytes);
    else if (progress.is_done) shown.textContent = name + ": done, " + size(progress.sent_bytes);
    else if (!progress.has_begun && triesLeft === 0) shown.textContent = name + ": not begun";
    else {
      shown.textContent = name + ": " + (progress.has_begun ? size(progress.sent_bytes) + " so far…" : "being made…");
      setTimeout(follow, ASK_MILLISECONDS, ticket, name, progress.has_begun ? triesLeft : triesLeft - 1);
    }
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-export]");
    if (!link) return;
    const ticket = crypto.randomUUID ? crypto.randomUUID() : String(Math.random()).slice(2);
    const address = new URL(link.href);
    address.searchParams.set("ticket", ticket);
    link.href = address.href;
    shown.hidden = false;
    shown.textContent = link.textContent + ": being made…";
    setTimeout(follow, ASK_MILLISECONDS, ticket, link.textContent, TRIES_MAX);
  });
})();
