// The page is whole without this. When a call ends it asks for the same page again and takes over what has changed,
// row by row, so that a focused link and the reader's place stay as they are.
"use strict";

(() => {
  const REFRESH_MILLISECONDS = 1500; // at most so often, however many calls end
  const IDLE_MILLISECONDS = 60000; // the attention box changes without a call
  const RETRY_MILLISECONDS = 5000; // after the server refused; the browser itself retries a line that broke

  const body = document.body;
  const sign = document.getElementById("live");
  let after = body.dataset.after;
  let source = null;
  let timer = null;
  let last = Date.now();

  function show(isLive) {
    if (!sign) return;
    sign.hidden = false;
    sign.classList.toggle("off", !isLive);
    sign.querySelector(".word").textContent = isLive ? "Live" : "Not connected";
  }

  function listen() {
    source = new EventSource(body.dataset.live + "?after=" + encodeURIComponent(after));
    source.addEventListener("open", () => show(true));
    source.addEventListener("record", (event) => {
      after = event.lastEventId;
      soon();
    });
    source.addEventListener("error", () => {
      show(false);
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MILLISECONDS);
    });
  }

  function soon() {
    if (timer !== null || document.hidden) return;
    timer = setTimeout(refresh, Math.max(150, last + REFRESH_MILLISECONDS - Date.now()));
  }

  async function refresh() {
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.redirected) return location.reload();
      if (answer.ok) take(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      show(false); // the line is down: the next event, or the next minute, tries again
    }
    last = Date.now();
    timer = null;
  }

  function take(fresh) {
    const regions = document.querySelectorAll("[data-refresh]");
    const isSamePage = [...regions].every((region) => fresh.getElementById(region.id));
    if (!isSamePage || fresh.querySelectorAll("[data-refresh]").length !== regions.length) return location.reload();
    for (const region of regions) {
      const other = fresh.getElementById(region.id);
      const rows = region.querySelector("tbody:has([data-key])");
      const otherRows = other.querySelector("tbody:has([data-key])");
      if (rows && otherRows) takeRows(rows, otherRows);
      else if (region.innerHTML !== other.innerHTML) region.replaceChildren(...other.childNodes);
    }
  }

  function takeRows(rows, otherRows) {
    const known = new Map([...rows.children].map((row) => [row.dataset.key, row]));
    let place = null;
    for (const fresh of [...otherRows.children]) {
      let row = known.get(fresh.dataset.key);
      known.delete(fresh.dataset.key);
      if (!row) {
        row = document.importNode(fresh, true);
        row.classList.add("new");
      } else if (row.innerHTML !== fresh.innerHTML) {
        row.replaceChildren(...document.importNode(fresh, true).childNodes);
      }
      const next = place ? place.nextElementSibling : rows.firstElementChild;
      if (row !== next) rows.insertBefore(row, next);
      place = row;
    }
    for (const gone of known.values()) gone.remove();
  }

  // Empty filters stay out of the address.
  document.querySelector("form.search")?.addEventListener("submit", (event) => {
    for (const field of event.target.elements) if (field.name && !field.value) field.disabled = true;
  });
  document.addEventListener("visibilitychange", () => document.hidden || soon());
  addEventListener("pageshow", () => document.querySelectorAll("form.search :disabled").forEach((field) => (field.disabled = false)));
  setInterval(soon, IDLE_MILLISECONDS);
  listen();
})();
