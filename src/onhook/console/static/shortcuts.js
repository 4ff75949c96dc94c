// Keyboard shortcuts, listed by the key `?`. Everything is reachable without them, and they can be switched off.
"use strict";

(() => {
  const dialog = document.getElementById("shortcuts");
  if (!dialog) return;
  const KEY = "onhook-shortcuts-off";
  const SECOND_KEY_MILLISECONDS = 1500;
  const PAGES = { d: "/", c: "/calls", m: "/missed", r: "/reports" };
  const toggle = dialog.querySelector("input");
  let isAfterG = false;
  let timer = null;

  function isOff() {
    try {
      return localStorage.getItem(KEY) !== null;
    } catch {
      return false; // storage is blocked: shortcuts are on
    }
  }

  toggle.checked = !isOff();
  toggle.addEventListener("change", () => {
    if (toggle.checked) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, "1");
  });

  function moveRow(step) {
    const links = [...document.querySelectorAll("tr.call .time a")];
    if (!links.length) return;
    const current = links.findIndex((link) => link.closest("tr").contains(document.activeElement));
    const next = current < 0 ? (step > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, current + step));
    links[next].focus();
  }

  function follow(selector) {
    document.querySelector(selector)?.click();
  }

  const actions = {
    "?": () => dialog.showModal(),
    "/": () => document.querySelector("input[type=search]")?.focus(),
    j: () => moveRow(1),
    k: () => moveRow(-1),
    x: () => document.activeElement.closest("tr.call")?.querySelector("input[type=checkbox]")?.click(),
    n: () => follow("main a[rel=next]:not(.step)"),
    p: () => follow("main a[rel=prev]:not(.step)"),
    e: () => {
      const form = document.querySelector(".note-form");
      if (!form) return;
      form.closest("details").open = true;
      form.querySelector("textarea").focus();
    },
    g: () => {
      isAfterG = true;
      clearTimeout(timer);
      timer = setTimeout(() => (isAfterG = false), SECOND_KEY_MILLISECONDS);
    },
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || dialog.open) return;
    if (event.target.closest("input:not([type=checkbox]), select, textarea, [contenteditable], [role=grid]")) return;
    if (isOff()) return;
    if (isAfterG && event.key in PAGES) {
      event.preventDefault();
      location.href = PAGES[event.key];
      return;
    }
    isAfterG = false;
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  });
})();
