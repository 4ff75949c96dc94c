// Shows a test as it arrives, without leaving the page that shows the secret this once; and copies what is to be pasted.
// Without it the page is watched by its link, and copied by hand.
"use strict";

(() => {
  const TRIES_MAX = 600; // half an hour: nobody sets up a PBX for longer
  const MARK_MILLISECONDS = 1500;

  async function watch(address, seconds, triesLeft) {
    const shown = document.getElementById("arrival");
    try {
      const answer = await fetch(address, { headers: { Accept: "text/html" } });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("arrival");
      if (answer.ok && fresh) {
        if (fresh.innerHTML !== shown.innerHTML) shown.replaceChildren(...document.importNode(fresh, true).childNodes);
        if (!fresh.dataset.watch) return;
      }
    } catch {
      // The line is down: the next try may find it up again.
    }
    if (triesLeft) setTimeout(watch, 1000 * seconds, address, seconds, triesLeft - 1);
  }

  for (const text of document.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) break; // only offered where a page is trusted
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), MARK_MILLISECONDS);
    });
    text.after(" ", button);
  }

  const { watch: address, seconds } = document.getElementById("arrival").dataset;
  if (address) watch(address, Number(seconds), TRIES_MAX);
})();
