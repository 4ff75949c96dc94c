// Draws the chart of a report from the values in the page. The table below has the same values.
"use strict";

(() => {
  const HEIGHT_PIXELS = 300;
  const BAR_PIXELS = 26; // of one bar that lies on its side, with the air around it
  const LABEL_CHARACTERS_MAX = 22;

  const darkScheme = matchMedia("(prefers-color-scheme: dark)");
  const printMedia = matchMedia("print");
  const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
  const tones = { plain: "--machine", good: "--person", bad: "--chart-bad", soft: "--soft", accent: "--accent" };

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const truncate = (text) => (text.length > LABEL_CHARACTERS_MAX ? text.slice(0, LABEL_CHARACTERS_MAX - 1) + "…" : text);

  function formatValue(unit, value) {
    if (value === null || value === undefined) return "–";
    if (unit === "share") return (100 * value).toFixed(1) + " %";
    return String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
  }

  function options(chart) {
    const categoryAxis = { type: "category", data: chart.labels, axisTick: { show: false }, axisLine: { lineStyle: { color: colour("--line") } }, axisLabel: { color: colour("--text-muted"), formatter: truncate, hideOverlap: !chart.is_sideways }, inverse: chart.is_sideways };
    const valueAxis = { type: "value", minInterval: chart.unit === "share" ? 0 : 1, max: chart.unit === "share" ? 1 : null, splitLine: { lineStyle: { color: colour("--line") } }, axisLabel: { color: colour("--text-muted"), formatter: (value) => formatValue(chart.unit, value) } };
    return {
      animation: !reducedMotion.matches,
      animationDuration: 300,
      textStyle: { fontFamily: "inherit", color: colour("--text") },
      grid: { left: 8, right: 16, top: chart.series.length > 1 ? 36 : 12, bottom: 8, containLabel: true },
      legend: { show: chart.series.length > 1, right: 8, top: 0, textStyle: { color: colour("--text-muted") }, itemWidth: 12, itemHeight: 8 },
      // Drawn on the canvas: the page's policy forbids inline styles.
      tooltip: { trigger: "axis", renderMode: "richText", confine: true, backgroundColor: colour("--surface"), borderColor: colour("--line"), textStyle: { color: colour("--text") }, axisPointer: { type: chart.shape === "line" ? "line" : "shadow" }, valueFormatter: (value) => formatValue(chart.unit, value) },
      xAxis: chart.is_sideways ? valueAxis : categoryAxis,
      yAxis: chart.is_sideways ? categoryAxis : valueAxis,
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

  for (const figure of document.querySelectorAll("[data-chart]")) {
    let chart = JSON.parse(figure.dataset.chart);
    const height = chart.is_sideways ? Math.max(120, 40 + BAR_PIXELS * chart.labels.length) : HEIGHT_PIXELS;
    const chartInstance = echarts.init(figure, null, { renderer: "canvas", height });
    const draw = () => chartInstance.setOption(options(chart), true);
    draw();
    chartInstance.on("click", (event) => {
      const link = chart.links[event.dataIndex];
      if (link) location.assign(link);
    });
    new ResizeObserver(() => chartInstance.resize({ width: figure.clientWidth, height })).observe(figure);
    darkScheme.addEventListener("change", draw);
    printMedia.addEventListener("change", draw);
    // A live page changes the values.
    new MutationObserver(() => {
      chart = JSON.parse(figure.dataset.chart);
      draw();
    }).observe(figure, { attributeFilter: ["data-chart"] });
    figure.dataset.rendered = "yes";
  }
})();
