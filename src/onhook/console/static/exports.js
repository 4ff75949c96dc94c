// Shows the progress of a download. The links work without it.
"use strict";

(() => {
  const POLL_MILLISECONDS = 700;
  const ATTEMPTS_MAX = 90; // a minute until a large file begins
  const output = document.getElementById("export-progress");
  if (!output) return;

  const size = (bytes) => (bytes < 1e6 ? (bytes / 1e3).toFixed(0) + " kB" : (bytes / 1e6).toFixed(1) + " MB");

  async function pollProgress(ticket, name, attemptsLeft) {
    const response = await fetch("/exports/" + ticket, { headers: { Accept: "application/json" } });
    if (!response.ok) return;
    const progress = await response.json();
    if (progress.is_broken) output.textContent = name + ": aborted after " + size(progress.sent_bytes);
    else if (progress.is_done) output.textContent = name + ": done, " + size(progress.sent_bytes);
    else if (!progress.has_begun && attemptsLeft === 0) output.textContent = name + ": not started";
    else {
      output.textContent = name + ": " + (progress.has_begun ? size(progress.sent_bytes) + " so far…" : "preparing…");
      setTimeout(pollProgress, POLL_MILLISECONDS, ticket, name, progress.has_begun ? attemptsLeft : attemptsLeft - 1);
    }
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-export]");
    if (!link) return;
    const ticket = crypto.randomUUID ? crypto.randomUUID() : String(Math.random()).slice(2);
    const address = new URL(link.href);
    address.searchParams.set("ticket", ticket);
    link.href = address.href;
    output.hidden = false;
    output.textContent = link.textContent + ": preparing…";
    setTimeout(pollProgress, POLL_MILLISECONDS, ticket, link.textContent, ATTEMPTS_MAX);
  });
})();
