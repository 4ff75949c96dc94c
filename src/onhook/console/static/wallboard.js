// Loads the figures of a wallboard again and again. Without it the browser loads the whole page.
"use strict";

(() => {
  const REFRESH_MILLISECONDS = 1000 * document.currentScript.dataset.seconds;
  const stale = document.getElementById("stale");

  function applyPage(newDocument) {
    const regions = [...document.querySelectorAll("[data-refresh]")];
    const newRegions = regions.map((region) => newDocument.getElementById(region.id));
    const isSamePage = newRegions.every((region) => region) && newDocument.querySelectorAll("[data-refresh]").length === regions.length;
    if (!isSamePage) return location.reload();
    regions.forEach((region, index) => {
      const newRegion = newRegions[index];
      if (region.dataset.chart) region.dataset.chart = newRegion.dataset.chart; // charts.js watches it
      else if (region.innerHTML !== newRegion.innerHTML) region.replaceChildren(...newRegion.childNodes);
    });
  }

  async function refresh() {
    try {
      const response = await fetch(location.href, { headers: { Accept: "text/html" } });
      // The link was revoked, or the dashboard removed: the page says so.
      if ([401, 403, 404].includes(response.status) || response.redirected) return location.reload();
      stale.hidden = response.ok;
      if (response.ok) applyPage(new DOMParser().parseFromString(await response.text(), "text/html"));
    } catch {
      stale.hidden = false; // the next turn tries again
    }
    setTimeout(refresh, REFRESH_MILLISECONDS);
  }

  setTimeout(refresh, REFRESH_MILLISECONDS);
})();
