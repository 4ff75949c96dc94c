// Shows the progress of a download. The links work without it.
"use strict";

(() => {
  const POLL_MILLISECONDS = 700;
  const ATTEMPTS_MAX = 90; // a minute until a large file begins
  const output = document.getElementById("export-progress");
  if (!output) return;

  const texts = output.dataset;
  const UNITS = ["B", "KiB", "MiB", "GiB"]; // as the server writes sizes (`pages/formatting.py`)

  function size(bytes) {
    const place = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), UNITS.length - 1);
    return `${place ? (bytes / 1024 ** place).toFixed(1) : bytes} ${UNITS[place]}`;
  }

  function show(template, name, bytes = 0) {
    output.textContent = template.replace("{size}", size(bytes)).replace("{name}", () => name);
  }

  async function pollProgress(ticket, name, attemptsLeft) {
    const response = await fetch("/exports/" + ticket, { headers: { Accept: "application/json" } });
    if (!response.ok) return;
    const progress = await response.json();
    if (progress.is_broken) show(texts.aborted, name, progress.sent_bytes);
    else if (progress.is_done) show(texts.done, name, progress.sent_bytes);
    else if (!progress.has_begun && attemptsLeft === 0) show(texts.notStarted, name);
    else {
      show(progress.has_begun ? texts.sent : texts.preparing, name, progress.sent_bytes);
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
    show(texts.preparing, link.textContent);
    setTimeout(pollProgress, POLL_MILLISECONDS, ticket, link.textContent, ATTEMPTS_MAX);
  });
})();
