// Updates the page when a call ends: loads the same page again and replaces changed rows, so that the focus and the
// scroll position stay. The page is complete without it.
"use strict";

(() => {
  const REFRESH_MILLISECONDS = 1500; // at most so often, however many calls end
  const IDLE_MILLISECONDS = 60000; // the attention box changes without a call
  const RETRY_MILLISECONDS = 5000; // after the server refused; the browser itself retries a line that broke

  const body = document.body;
  const statusIndicator = document.getElementById("live");
  let after = body.dataset.after;
  let source = null;
  let timer = null;
  let lastRefreshAt = Date.now();

  function showConnection(isLive) {
    if (!statusIndicator) return;
    statusIndicator.hidden = false;
    statusIndicator.classList.toggle("off", !isLive);
    statusIndicator.querySelector(".word").textContent = isLive ? statusIndicator.dataset.on : statusIndicator.dataset.off;
  }

  function listen() {
    source = new EventSource(body.dataset.live + "?after=" + encodeURIComponent(after));
    source.addEventListener("open", () => showConnection(true));
    source.addEventListener("record", (event) => {
      after = event.lastEventId;
      scheduleRefresh();
    });
    source.addEventListener("error", () => {
      showConnection(false);
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MILLISECONDS);
    });
  }

  function scheduleRefresh() {
    if (timer !== null || document.hidden) return;
    timer = setTimeout(refresh, Math.max(150, lastRefreshAt + REFRESH_MILLISECONDS - Date.now()));
  }

  async function refresh() {
    try {
      const response = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (response.redirected) return location.reload();
      if (response.ok) applyPage(new DOMParser().parseFromString(await response.text(), "text/html"));
    } catch {
      showConnection(false); // the line is down: the next event, or the next minute, tries again
    }
    lastRefreshAt = Date.now();
    timer = null;
  }

  function applyPage(newDocument) {
    const regions = document.querySelectorAll("[data-refresh]");
    const isSamePage = [...regions].every((region) => newDocument.getElementById(region.id));
    if (!isSamePage || newDocument.querySelectorAll("[data-refresh]").length !== regions.length) return location.reload();
    for (const region of regions) {
      const newRegion = newDocument.getElementById(region.id);
      if (region.dataset.chart) {
        region.dataset.chart = newRegion.dataset.chart; // charts.js watches it
        continue;
      }
      const rows = region.querySelector("tbody:has([data-key])");
      const newRows = newRegion.querySelector("tbody:has([data-key])");
      if (rows && newRows) {
        applyRows(rows, newRows);
        applyBeside(region, rows, newRegion, newRows);
      } else if (region.innerHTML !== newRegion.innerHTML) replaceContent(region, newRegion);
    }
  }

  // The focus stays at the same place of the region.
  function replaceContent(region, newRegion) {
    const places = "a, button, summary, [tabindex]";
    const place = [...region.querySelectorAll(places)].indexOf(document.activeElement);
    region.replaceChildren(...newRegion.childNodes);
    if (place >= 0) region.querySelectorAll(places)[place]?.focus({ preventScroll: true });
  }
  globalThis.onhookReplaceContent = replaceContent; // for queues_now.js

  function applyRows(rows, newRows) {
    const rowsByKey = new Map([...rows.children].map((row) => [row.dataset.key, row]));
    let previousRow = null;
    for (const newRow of [...newRows.children]) {
      let row = rowsByKey.get(newRow.dataset.key);
      rowsByKey.delete(newRow.dataset.key);
      if (!row) {
        row = document.importNode(newRow, true);
        row.classList.add("new");
      } else if (row.innerHTML !== newRow.innerHTML) {
        row.replaceChildren(...document.importNode(newRow, true).childNodes);
      }
      const nextRow = previousRow ? previousRow.nextElementSibling : rows.firstElementChild;
      if (row !== nextRow) rows.insertBefore(row, nextRow);
      previousRow = row;
    }
    for (const removedRow of rowsByKey.values()) removedRow.remove();
  }

  // What a region has beside its rows; the elements around these stay, with their scroll position.
  function applyBeside(region, rows, newRegion, newRows) {
    let [element, newElement] = [rows, newRows];
    while (element !== region && newElement !== newRegion) {
      for (const side of ["previousSibling", "nextSibling"]) {
        const siblings = listSiblings(element, side);
        const newSiblings = listSiblings(newElement, side);
        if (siblings.map(describeNode).join("") === newSiblings.map(describeNode).join("")) continue;
        for (const sibling of siblings) sibling.remove();
        if (side === "nextSibling") element.after(...newSiblings);
        else element.before(...newSiblings.reverse());
      }
      [element, newElement] = [element.parentElement, newElement.parentElement];
    }
  }

  function listSiblings(element, side) {
    const siblings = [];
    for (let node = element[side]; node; node = node[side]) siblings.push(node);
    return siblings;
  }

  const describeNode = (node) => node.outerHTML ?? node.textContent;

  // Empty filters are left out of the URL.
  document.querySelector("form.search")?.addEventListener("submit", (event) => {
    for (const field of event.target.elements) if (field.name && !field.value) field.disabled = true;
  });
  document.addEventListener("visibilitychange", () => document.hidden || scheduleRefresh());
  addEventListener("pageshow", () => document.querySelectorAll("form.search :disabled").forEach((field) => (field.disabled = false)));
  setInterval(scheduleRefresh, IDLE_MILLISECONDS);
  listen();
})();
