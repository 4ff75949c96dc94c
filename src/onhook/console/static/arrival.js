// Shows a test event when it arrives, without leaving the page with the secret, and copies settings to the clipboard.
// Without it the page has a link to reload, and settings are copied by hand.
"use strict";

(() => {
  const ATTEMPTS_MAX = 600; // half an hour: setting up a PBX takes less
  const COPIED_LABEL_MILLISECONDS = 1500;

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

  for (const source of document.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) break; // only offered where a page is trusted
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), COPIED_LABEL_MILLISECONDS);
    });
    source.after(" ", button);
  }

  const { watch: address, seconds } = document.getElementById("arrival").dataset;
  if (address) watch(address, Number(seconds), ATTEMPTS_MAX);
})();
