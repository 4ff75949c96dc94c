// Shows the settings of the chosen kind of destination alone, and an example of its address. Without it all kinds are shown.
"use strict";

(() => {
  const select = document.querySelector("select[name=kind]");
  const address = document.querySelector("input[name=url]");
  if (!select || !address) return;

  function showKind() {
    for (const settings of document.querySelectorAll("details[data-kind]")) {
      settings.hidden = settings.dataset.kind !== select.value;
      settings.open = !settings.hidden;
    }
    address.placeholder = select.selectedOptions[0].dataset.url;
  }

  select.addEventListener("change", showKind);
  // A page that the browser has kept may have another choice than when it was sent.
  addEventListener("pageshow", showKind);
})();
