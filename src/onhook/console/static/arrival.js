// Shows a test event when it arrives, without leaving the page with the secret. Without it the page has a link to reload.
"use strict";

(() => {
  const ATTEMPTS_MAX = 600; // half an hour: setting up a PBX takes less

  async function watch(address, seconds, attemptsLeft) {
    const container = document.getElementById("arrival");
    try {
      const response = await fetch(address, { headers: { Accept: "text/html" } });
      const newContainer = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("arrival");
      if (response.ok && newContainer) {
        if (newContainer.innerHTML !== container.innerHTML) container.replaceChildren(...document.importNode(newContainer, true).childNodes);
        if (!newContainer.dataset.watch) return;
      }
    } catch {
      // No connection: retried with the next poll.
    }
    if (attemptsLeft) setTimeout(watch, 1000 * seconds, address, seconds, attemptsLeft - 1);
  }

  const { watch: address, seconds } = document.getElementById("arrival").dataset;
  if (address) watch(address, Number(seconds), ATTEMPTS_MAX);
})();
