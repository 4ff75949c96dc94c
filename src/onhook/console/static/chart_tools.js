// What a reader does with a chart: select steps along the time, which become the period of the page, with the mouse, a
// finger or the keyboard; and save the chart as PNG or SVG. A file has what the page has.
"use strict";

(() => {
  const DRAG_PIXELS_MIN = 8; // less is a click on a bar
  const FILE_WIDTH_MIN = 800;
  const FILE_SCALE = 2; // for paper and screens of high density
  const REVOKE_MILLISECONDS = 60000; // after which a download has begun

  function create(name, attributes, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  class Selection {
    constructor(view, tools) {
      this.view = view;
      this.texts = JSON.parse(tools.dataset.texts);
      this.mark = create("div", { class: "chart-selection", hidden: "" });
      this.status = create("span", { class: "hint", role: "status" });
      this.button = create("button", { type: "button", class: "quiet", "aria-pressed": "false" }, this.texts.select);
      this.button.addEventListener("click", () => (this.isOpen ? this.close() : this.open()));
      this.button.addEventListener("keydown", (event) => this.press(event));
      this.button.addEventListener("blur", () => this.close());
      view.figure.append(this.mark);
      view.figure.addEventListener("pointerdown", (event) => this.beginDrag(event));
      tools.append(this.button, this.status);
    }

    get isOpen() {
      return this.button.getAttribute("aria-pressed") === "true";
    }

    get last() {
      return this.view.chart.spans.length - 1;
    }

    open() {
      this.anchor = this.end = this.last;
      this.button.setAttribute("aria-pressed", "true");
      this.view.figure.classList.add("selecting"); // a finger drags over the chart then, and does not scroll the page
      this.show(this.texts.hint);
    }

    close() {
      this.button.setAttribute("aria-pressed", "false");
      this.view.figure.classList.remove("selecting");
      this.mark.hidden = true;
      this.status.textContent = "";
    }

    press(event) {
      if (!this.isOpen || event.ctrlKey || event.altKey || event.metaKey) return;
      const ends = { ArrowLeft: this.end - 1, ArrowRight: this.end + 1, Home: 0, End: this.last };
      if (event.key in ends) {
        this.end = Math.min(Math.max(ends[event.key], 0), this.last);
        if (!event.shiftKey) this.anchor = this.end;
        this.show();
      } else if (event.key === "Enter") this.zoom();
      else if (event.key === "Escape") this.close();
      else return;
      event.preventDefault();
      event.stopPropagation();
    }

    beginDrag(event) {
      if (event.button !== 0 || (event.pointerType === "touch" && !this.isOpen)) return; // a finger scrolls the page
      const { figure } = this.view;
      const place = (moved) => this.stepAt(moved.clientX - figure.getBoundingClientRect().left);
      const [begin, beginX] = [place(event), event.clientX];
      let hasMoved = false;
      const drag = new AbortController();
      const listen = (name, handle) => addEventListener(name, handle, { signal: drag.signal });
      const end = (isChosen) => {
        drag.abort();
        if (hasMoved && isChosen) this.zoom();
        else this.close();
      };
      listen("pointermove", (moved) => {
        hasMoved ||= Math.abs(moved.clientX - beginX) >= DRAG_PIXELS_MIN;
        if (!hasMoved) return;
        [this.anchor, this.end] = [begin, place(moved)];
        this.show();
      });
      listen("pointerup", () => end(true));
      listen("pointercancel", () => end(false));
      listen("keydown", (pressed) => pressed.key === "Escape" && end(false));
    }

    stepAt(x) {
      const step = this.view.instance.convertFromPixel({ xAxisIndex: 0 }, x);
      return Math.min(Math.max(Math.round(step), 0), this.last);
    }

    get ends() {
      return [Math.min(this.anchor, this.end), Math.max(this.anchor, this.end)];
    }

    show(hint = "") {
      const { chart, instance, height } = this.view;
      const [first, last] = this.ends;
      const [left, right] = [first, last].map((step) => instance.convertToPixel({ xAxisIndex: 0 }, step));
      const centre = (step) => instance.convertToPixel({ xAxisIndex: 0 }, step);
      const width = this.last > 0 ? centre(1) - centre(0) : instance.getWidth() - 2 * left;
      Object.assign(this.mark.style, { left: `${left - width / 2}px`, width: `${right - left + width}px`, height: `${height}px` });
      this.mark.hidden = false;
      const steps = first === last ? chart.labels[first] : `${chart.labels[first]} – ${chart.labels[last]}`;
      this.status.textContent = hint ? `${steps}. ${hint}` : steps;
    }

    zoom() {
      const [first, last] = this.ends;
      const address = new URL(location.href);
      address.searchParams.set("since", this.view.chart.spans[first].since);
      address.searchParams.set("until", this.view.chart.spans[last].until);
      for (const name of ["row", "by"]) address.searchParams.delete(name); // a shorter period has finer steps
      address.hash = "";
      location.assign(address);
    }
  }

  function save(name, blob) {
    const address = URL.createObjectURL(blob);
    create("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), REVOKE_MILLISECONDS);
  }

  function draw(view, renderer) {
    const size = { width: Math.max(FILE_WIDTH_MIN, view.figure.clientWidth), height: view.fileHeight };
    const place = renderer === "svg" ? null : document.createElement("div");
    const instance = echarts.init(place, null, { renderer, ssr: renderer === "svg", ...size });
    instance.setOption(view.options(view.chart, view.figure, true));
    return instance;
  }

  function saveSvg(view) {
    const instance = draw(view, "svg");
    save(`${view.figure.dataset.file}.svg`, new Blob([instance.renderToSVGString()], { type: "image/svg+xml" }));
    instance.dispose();
  }

  function savePng(view) {
    const instance = draw(view, "canvas");
    instance.renderToCanvas({ pixelRatio: FILE_SCALE }).toBlob((blob) => save(`${view.figure.dataset.file}.png`, blob), "image/png");
    instance.dispose();
  }

  for (const view of globalThis.onhookCharts ?? []) {
    const tools = document.querySelector(`[data-chart-tools="${view.figure.id}"]`);
    if (!tools) continue;
    const texts = JSON.parse(tools.dataset.texts);
    if (view.chart.spans.length) new Selection(view, tools);
    for (const [name, run] of [["PNG", savePng], ["SVG", saveSvg]]) {
      const button = create("button", { type: "button", class: "quiet", "aria-label": texts.save.replace("{format}", name) }, name);
      button.addEventListener("click", () => run(view));
      tools.append(button);
    }
    tools.hidden = false;
  }
})();
