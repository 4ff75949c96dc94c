// Shows that a button was pressed while its answer is awaited, so that nobody presses twice. Without it forms work just
// the same.
"use strict";

(() => {
  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!button || event.target.method !== "post") return;
    // After the form was read: a button that is off sends nothing.
    setTimeout(() => {
      button.disabled = true;
      button.setAttribute("aria-busy", "true");
    });
  });
  addEventListener("pageshow", () => {
    for (const button of document.querySelectorAll("button[aria-busy]")) {
      button.disabled = false;
      button.removeAttribute("aria-busy");
    }
  });
})();
