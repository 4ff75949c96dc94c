// Suggests values while a filter is typed. The fields take any value without it.
"use strict";

(() => {
  const WAIT_MILLISECONDS = 150;

  document.querySelectorAll("input[data-suggest]").forEach((input, number) => {
    const list = document.createElement("datalist");
    list.id = "suggestions-" + number;
    input.after(list);
    input.setAttribute("list", list.id);
    let timer = null;
    let shownText = null;

    async function load() {
      const text = input.value.trim();
      if (text === shownText) return;
      shownText = text;
      try {
        const query = new URLSearchParams({ field: input.dataset.suggest, text });
        const response = await fetch("/suggestions?" + query, { headers: { Accept: "application/json" } });
        if (!response.ok) return;
        const suggestions = (await response.json()).data;
        if (input.value.trim() !== text) return;
        list.replaceChildren(...suggestions.map(({ value, label }) => new Option(label ? value + " · " + label : value, value)));
      } catch {
        shownText = null; // the line is down: the next character tries again
      }
    }

    input.addEventListener("focus", load);
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(load, WAIT_MILLISECONDS);
    });
  });
})();
