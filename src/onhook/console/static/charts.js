// Draws the charts of a page from the values in it. A table has the same values.
"use strict";

(() => {
  const HEIGHT_PIXELS = 300;
  const BAR_PIXELS = 26; // of one bar that lies on its side, with the air around it
  const LABEL_CHARACTERS_MAX = 22;
  const AXIS_PARTS_MAX = 6;
  const DAYS_MIN = 3;
  const FILE_TITLE_PIXELS = 52;
  const NICE_SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400];

  const darkScheme = matchMedia("(prefers-color-scheme: dark)");
  const printMedia = matchMedia("print");
  const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
  const tones = { plain: "--machine", good: "--person", bad: "--chart-bad", soft: "--soft", accent: "--accent" };

  // Values as the server writes them (`pages/formatting.py`): an unknown one is a dash.
  const UNKNOWN = "–";
  const pad = (number) => String(number).padStart(2, "0");

  function formatDuration(seconds) {
    const [hour, minute, second] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
    return hour ? `${hour}:${pad(minute)}:${pad(second)}` : `${minute}:${pad(second)}`;
  }

  const formats = {
    count: (number) => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f"),
    seconds: formatDuration,
    share: (part) => (100 * part).toFixed(1).replace(/\.0$/, "") + " %",
  };
  const formatValue = (unit, value) => (value === null || value === undefined ? UNKNOWN : formats[unit](value));
  globalThis.onhookFormatValue = formatValue;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const shorten = (text) => (text.length > LABEL_CHARACTERS_MAX ? text.slice(0, LABEL_CHARACTERS_MAX - 1) + "…" : text);
  // A chart runs from left to right in each language; marks keep the signs of an Arabic label in their places.
  const isRightToLeft = document.documentElement.dir === "rtl";
  const truncate = (text) => (isRightToLeft ? `\u200f${shorten(text)}\u200f` : shorten(text));
  const isWithoutValues = (chart) => chart.series.every((series) => series.values.every((value) => !value));

  // The lines of an axis in seconds are at whole minutes or hours, as people read them.
  function secondsLimits(chart) {
    const highest = Math.max(1, ...chart.series.flatMap((series) => series.values.map((value) => value ?? 0)));
    const days = 86400 * Math.ceil(highest / 86400 / AXIS_PARTS_MAX);
    const interval = NICE_SECONDS.find((seconds) => highest / seconds <= AXIS_PARTS_MAX) ?? days;
    return { interval, max: interval * Math.ceil(highest / interval) };
  }

  function valueAxis(chart) {
    return {
      type: "value",
      min: 0,
      ...{ count: { minInterval: 1 }, share: { max: 1 }, seconds: secondsLimits(chart) }[chart.unit],
      show: !isWithoutValues(chart),
      splitLine: { lineStyle: { color: colour("--line") } },
      axisLabel: { color: colour("--text-muted"), formatter: (value) => formatValue(chart.unit, value) },
    };
  }

  // Hours of several days are labelled by their days, each where it begins.
  function dayLabels(chart) {
    const days = chart.labels.map((label) => label.replace(/ \d{1,2}:\d{2}.*$/, ""));
    if (new Set(days).size < DAYS_MIN || days.every((day, index) => day === chart.labels[index])) return {};
    return { interval: (index) => days[index] !== days[index - 1], formatter: (_label, index) => days[index] };
  }

  function categoryAxis(chart) {
    return {
      type: "category",
      data: chart.labels,
      name: chart.axis_title,
      nameLocation: "middle",
      nameGap: 28,
      nameTextStyle: { color: colour("--text-muted") },
      axisTick: { show: false },
      axisLine: { lineStyle: { color: colour("--line") } },
      axisLabel: { color: colour("--text-muted"), formatter: truncate, hideOverlap: !chart.is_sideways, ...(chart.is_sideways ? {} : { alignMaxLabel: "right", ...dayLabels(chart) }) },
      inverse: chart.is_sideways,
    };
  }

  // In a file the title and the period are part of the picture; on the page a text stands in place of missing values.
  function titles(chart, figure, isFile) {
    const { title, subtitle, empty } = figure.dataset;
    const heading = { text: title, subtext: subtitle, left: 8, top: 6, textStyle: { color: colour("--text"), fontSize: 15 }, subtextStyle: { color: colour("--text-muted") } };
    const missing = { text: empty, left: "center", top: "middle", textStyle: { color: colour("--text-muted"), fontSize: 14, fontWeight: "normal" } };
    return [...(isFile ? [heading] : []), ...(isWithoutValues(chart) ? [missing] : [])];
  }

  function options(chart, figure, isFile = false) {
    const hasLegend = chart.series.length > 1 && !isWithoutValues(chart);
    const top = isFile ? FILE_TITLE_PIXELS : 0;
    return {
      animation: !isFile && !reducedMotion.matches,
      animationDuration: 300,
      backgroundColor: isFile ? colour("--surface") : "transparent",
      textStyle: { fontFamily: isFile ? "sans-serif" : getComputedStyle(document.body).fontFamily, color: colour("--text") },
      title: titles(chart, figure, isFile),
      grid: { left: 8, right: 16, top: top + (hasLegend ? 36 : 12), bottom: chart.axis_title ? 28 : 8, containLabel: true },
      legend: { show: hasLegend, right: 8, top, textStyle: { color: colour("--text-muted") }, itemWidth: 12, itemHeight: 8 },
      // Drawn on the canvas: the page's policy forbids inline styles.
      tooltip: { trigger: "axis", renderMode: "richText", confine: true, backgroundColor: colour("--surface"), borderColor: colour("--line"), textStyle: { color: colour("--text") }, axisPointer: { type: chart.shape === "line" ? "line" : "shadow" }, valueFormatter: (value) => formatValue(chart.unit, value) },
      xAxis: chart.is_sideways ? valueAxis(chart) : categoryAxis(chart),
      yAxis: chart.is_sideways ? categoryAxis(chart) : valueAxis(chart),
      series: chart.series.map((series) => ({
        name: series.name,
        type: chart.shape === "line" ? "line" : "bar",
        stack: chart.shape === "stack" ? "all" : undefined,
        data: series.values,
        barMaxWidth: 36,
        showSymbol: chart.labels.length < 60,
        itemStyle: { color: colour(tones[series.tone]) },
        lineStyle: { width: 2 },
        cursor: chart.links.length ? "pointer" : "default",
      })),
    };
  }

  const views = [];
  for (const figure of document.querySelectorAll("[data-chart]")) {
    const view = { figure, chart: JSON.parse(figure.dataset.chart), options };
    view.height = view.chart.is_sideways ? Math.max(120, 40 + BAR_PIXELS * view.chart.labels.length) : HEIGHT_PIXELS;
    view.fileHeight = view.height + FILE_TITLE_PIXELS;
    view.instance = echarts.init(figure, null, { renderer: "canvas", height: view.height });
    const draw = () => view.instance.setOption(options(view.chart, figure), true);
    draw();
    view.instance.on("click", (event) => {
      const link = view.chart.links[event.dataIndex];
      if (link) location.assign(link);
    });
    new ResizeObserver(() => view.instance.resize({ width: figure.clientWidth, height: view.height })).observe(figure);
    darkScheme.addEventListener("change", draw);
    printMedia.addEventListener("change", draw);
    // A live page changes the values.
    new MutationObserver(() => {
      view.chart = JSON.parse(figure.dataset.chart);
      draw();
    }).observe(figure, { attributeFilter: ["data-chart"] });
    figure.dataset.rendered = "yes";
    views.push(view);
  }
  globalThis.onhookCharts = views; // for chart_tools.js
})();
