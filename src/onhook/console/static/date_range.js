// The calendar of a date range (`date_range.html`). Days are texts such as 2026-04-27, in the reader's zone: the server
// parses them there, and the browser's own zone plays no part. The fields are complete without it.
"use strict";

(() => {
  const DAY = 86400000;
  const parse = (text) => new Date(text + "T00:00:00Z");
  const format = (day) => day.toISOString().slice(0, 10);
  const addDays = (text, count) => format(new Date(parse(text).getTime() + count * DAY));
  const weekday = (text) => (parse(text).getUTCDay() + 6) % 7; // 0 is Monday
  const language = `${document.documentElement.lang || "en"}-u-nu-latn`; // with the digits of all other figures
  const forward = document.documentElement.dir === "rtl" ? -1 : 1; // days run as the script does
  const say = (text, options) => new Intl.DateTimeFormat(language, { timeZone: "UTC", ...options }).format(parse(text));

  function addMonths(text, count) {
    const [year, month, day] = text.split("-").map(Number);
    const last = new Date(Date.UTC(year, month - 1 + count + 1, 0)).getUTCDate();
    return format(new Date(Date.UTC(year, month - 1 + count, Math.min(day, last))));
  }

  function create(name, attributes, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  class Calendar {
    constructor(range) {
      this.labels = JSON.parse(range.dataset.labels);
      this.range = range;
      this.today = range.dataset.today;
      this.first = range.dataset.first;
      this.last = range.dataset.last;
      this.isChoosingLast = false;
      this.focused = this.last && this.last < this.today ? this.last : this.today;
      this.place = range.querySelector("[data-calendar]");
      this.since = range.querySelector("input[name=since]");
      this.until = range.querySelector("input[name=until]");
      this.title = create("strong", { "aria-live": "polite" });
      this.hint = create("p", { class: "hint", role: "status" }, this.labels.first);
      const earlier = create("button", { type: "button", class: "step", "aria-label": this.labels.earlier }, forward > 0 ? "◀" : "▶");
      const later = create("button", { type: "button", class: "step", "aria-label": this.labels.later }, forward > 0 ? "▶" : "◀");
      earlier.addEventListener("click", () => this.move(addMonths(this.focused, -1), false));
      later.addEventListener("click", () => this.move(addMonths(this.focused, 1), false));
      this.rows = create("tbody", {});
      this.grid = create("table", { role: "grid", "aria-label": this.labels.days, class: "days" }, this.head(), this.rows);
      this.grid.addEventListener("keydown", (event) => this.press(event));
      this.grid.addEventListener("click", (event) => {
        const cell = event.target.closest("[data-day]");
        if (cell) this.choose(cell.dataset.day);
      });
      this.place.append(create("div", { class: "month" }, earlier, this.title, later), this.grid, this.hint);
      this.place.hidden = false;
      this.draw();
    }

    head() {
      const monday = "2024-01-01";
      const days = [...Array(7).keys()].map((number) => addDays(monday, number));
      const short = days.map((day) => say(day, { weekday: "short" }).slice(0, 2));
      // In Arabic all begin with the article.
      const names = new Set(short).size > 2 ? short : days.map((day) => say(day, { weekday: "narrow" }));
      const cells = days.map((day, number) => create("th", { scope: "col", abbr: say(day, { weekday: "long" }) }, names[number]));
      return create("thead", {}, create("tr", {}, ...cells));
    }

    draw() {
      const month = this.focused.slice(0, 7);
      this.title.textContent = say(this.focused, { month: "long", year: "numeric" });
      const first = month + "-01";
      const begin = addDays(first, -weekday(first));
      const weeks = [];
      for (let day = begin; day.slice(0, 7) <= month; day = addDays(day, 7)) {
        weeks.push(create("tr", {}, ...[...Array(7).keys()].map((number) => this.cell(addDays(day, number), month))));
      }
      this.rows.replaceChildren(...weeks);
    }

    cell(day, month) {
      if (day.slice(0, 7) !== month) return create("td", { role: "gridcell" });
      const isSelected = this.first && day >= this.first && day <= (this.last || this.first);
      const attributes = {
        role: "gridcell",
        "data-day": day,
        tabindex: day === this.focused ? "0" : "-1",
        "aria-selected": isSelected ? "true" : "false",
        "aria-label": say(day, { weekday: "long", day: "numeric", month: "long", year: "numeric" }),
      };
      if (day === this.today) attributes["aria-current"] = "date";
      return create("td", attributes, String(Number(day.slice(8))));
    }

    move(day, hasFocus = true) {
      this.focused = day;
      this.draw();
      if (hasFocus) this.rows.querySelector("[tabindex='0']").focus();
    }

    press(event) {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const day = this.focused;
      const keys = {
        ArrowLeft: () => this.move(addDays(day, -forward)),
        ArrowRight: () => this.move(addDays(day, forward)),
        ArrowUp: () => this.move(addDays(day, -7)),
        ArrowDown: () => this.move(addDays(day, 7)),
        Home: () => this.move(addDays(day, -weekday(day))),
        End: () => this.move(addDays(day, 6 - weekday(day))),
        PageUp: () => this.move(addMonths(day, event.shiftKey ? -12 : -1)),
        PageDown: () => this.move(addMonths(day, event.shiftKey ? 12 : 1)),
        Enter: () => this.choose(day, true),
        " ": () => this.choose(day, true),
      };
      if (!(event.key in keys)) return;
      event.preventDefault();
      keys[event.key]();
    }

    choose(day, hasFocus = false) {
      this.focused = day;
      if (this.isChoosingLast) {
        [this.first, this.last] = day < this.first ? [day, this.first] : [this.first, day];
      } else {
        this.first = this.last = day;
      }
      this.isChoosingLast = !this.isChoosingLast;
      this.since.value = this.first;
      this.until.value = addDays(this.last, 1);
      this.hint.textContent = this.isChoosingLast ? this.labels.last : this.labels.done;
      this.draw();
      if (this.isChoosingLast || !hasFocus) this.rows.querySelector("[tabindex='0']").focus();
      else this.range.querySelector("[data-apply]").focus();
    }
  }

  // The text of the comparison becomes a choice and, for a chosen period, a day.
  function replaceComparison(input) {
    const names = JSON.parse(input.dataset.compare);
    const isDay = !["", "previous", "year"].includes(input.value);
    const choice = create("select", {});
    for (const value of ["", "previous", "year", "day"]) choice.append(create("option", { value }, names[value]));
    choice.value = isDay ? "day" : input.value;
    const day = create("input", { type: "date", "aria-label": names.title });
    day.value = isDay ? input.value : "";
    day.hidden = !isDay;
    choice.addEventListener("change", () => {
      day.hidden = choice.value !== "day";
      input.value = choice.value === "day" ? day.value : choice.value;
      if (!day.hidden) day.focus();
    });
    day.addEventListener("change", () => (input.value = day.value));
    input.type = "hidden";
    input.removeAttribute("list");
    input.before(choice, day);
  }

  for (const range of document.querySelectorAll("details[data-date-range]")) {
    let calendar = null;
    const open = () => (calendar ??= new Calendar(range));
    if (range.open) open();
    range.addEventListener("toggle", () => range.open && open());
    range.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !range.open) return;
      event.stopPropagation();
      range.open = false;
      range.querySelector("summary").focus();
    });
    document.addEventListener("pointerdown", (event) => {
      if (!range.contains(event.target)) range.open = false;
    });
    range.addEventListener("focusout", (event) => {
      if (event.relatedTarget && !range.contains(event.relatedTarget)) range.open = false;
    });
    const comparison = range.querySelector("input[data-compare]");
    if (comparison && !comparison.hasAttribute("aria-invalid")) replaceComparison(comparison);
  }
})();
