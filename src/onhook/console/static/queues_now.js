// Loads the queues of this moment again and again: they change without a call. The rest of the page stays as it is.
"use strict";

(() => {
  const findRegion = () => document.querySelector("[data-refresh-seconds]");
  const replaceContent = globalThis.onhookReplaceContent ?? ((region, newRegion) => region.replaceChildren(...newRegion.childNodes));
  const milliseconds = 1000 * findRegion().dataset.refreshSeconds;
  const address = new URL(location.href);
  address.searchParams.set("part", "queues-now");

  async function refresh() {
    try {
      const response = document.hidden ? null : await fetch(address, { headers: { Accept: "text/html" } });
      // The reader was signed out, the link revoked, or the dashboard removed: the page says so.
      if (response && ([401, 403, 404].includes(response.status) || response.redirected)) return location.reload();
      if (response?.ok) applyPart(new DOMParser().parseFromString(await response.text(), "text/html").body);
    } catch {
      // No connection: the page says so, and the next turn tries again.
    }
    setTimeout(refresh, milliseconds);
  }

  function applyPart(newRegion) {
    const region = findRegion();
    if (region && region.innerHTML.trim() !== newRegion.innerHTML.trim()) replaceContent(region, newRegion);
  }

  setTimeout(refresh, milliseconds);
})();
