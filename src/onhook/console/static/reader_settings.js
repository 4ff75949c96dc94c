// Suggests time zones in the header, first the browser's own. The field takes any zone without it.
"use strict";

(() => {
  const details = document.querySelector(".reader-settings");
  if (!details) return;
  const list = document.getElementById("reader-zones");
  details.addEventListener("toggle", () => {
    if (!details.open || list.dataset.filled) return;
    list.dataset.filled = "true";
    const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const zones = [own, ...(Intl.supportedValuesOf?.("timeZone") ?? []).filter((zone) => zone !== own), "UTC"];
    list.replaceChildren(...zones.filter(Boolean).map((zone) => new Option("", zone)));
  });
  details.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    details.open = false;
    details.querySelector("summary").focus();
  });
  document.addEventListener("pointerdown", (event) => {
    if (!details.contains(event.target)) details.open = false;
  });
})();
