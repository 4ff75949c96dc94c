// Updates parts of a page while something is awaited, without leaving it: a test event, a back-fill. Without it the page has
// a link to reload.
"use strict";

(() => {
  const ATTEMPTS_MAX = 600; // half an hour: setting up a PBX takes less

  async function watch(container, address, seconds, attemptsLeft) {
    try {
      const response = await fetch(address, { headers: { Accept: "text/html" } });
      const newContainer = new DOMParser().parseFromString(await response.text(), "text/html").getElementById(container.id);
      if (response.ok && newContainer) {
        if (newContainer.innerHTML !== container.innerHTML) container.replaceChildren(...document.importNode(newContainer, true).childNodes);
        if (!newContainer.dataset.watch) return;
      }
    } catch {
      // No connection: retried with the next poll.
    }
    if (attemptsLeft) setTimeout(watch, 1000 * seconds, container, address, seconds, attemptsLeft - 1);
  }

  for (const container of document.querySelectorAll("[data-watch]")) {
    const { watch: address, seconds } = container.dataset;
    watch(container, address, Number(seconds), ATTEMPTS_MAX);
  }
})();
