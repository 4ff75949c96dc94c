// Adds a Copy button to settings and secrets. Without it they are copied by hand.
"use strict";

(() => {
  const texts = document.currentScript.dataset;
  const COPIED_LABEL_MILLISECONDS = 1500;

  function selectText(source) {
    const range = document.createRange();
    range.selectNodeContents(source);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
  }

  async function copyText(source) {
    // Browsers offer the clipboard to pages of this machine and by HTTPS; elsewhere they copy what is selected.
    if (navigator.clipboard) return navigator.clipboard.writeText(source.textContent);
    selectText(source);
    if (!document.execCommand("copy")) throw new Error("not copied");
  }

  for (const source of document.querySelectorAll("[data-copy]")) {
    const button = document.createElement("button");
    const label = document.createElement("span");
    const subject = document.createElement("span");
    button.type = "button";
    button.className = "quiet";
    label.textContent = texts.copy;
    subject.className = "visually-hidden";
    subject.textContent = " " + source.dataset.copy;
    button.append(label, subject);
    button.setAttribute("aria-live", "polite");
    button.addEventListener("click", async () => {
      try {
        await copyText(source);
        label.textContent = texts.copied;
      } catch {
        selectText(source);
        label.textContent = texts.selected;
      }
      setTimeout(() => (label.textContent = texts.copy), COPIED_LABEL_MILLISECONDS);
    });
    (source.closest(".scroll") ?? source).after(" ", button);
  }
})();
