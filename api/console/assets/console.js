"use strict";
// What the pages need beside htmx: charts, a question before what cannot be undone, times that go on, copying.
(() => {
  const waiting = new Map();

  function colours() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    return { ink: of("--ink"), quiet: of("--quiet"), line: of("--line"), sheet: of("--sheet"),
      good: of("--good"), warn: of("--warn"), bad: of("--bad"), busy: of("--busy"), off: of("--off"), accent: of("--accent") };
  }

  // An option made on the server names colours by their meaning: "@bad".
  function coloured(value, palette) {
    if (typeof value === "string" && value.startsWith("@")) return palette[value.slice(1)] || value;
    if (Array.isArray(value)) return value.map((each) => coloured(each, palette));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, coloured(each, palette)]));
    }
    return value;
  }

  function draw(place) {
    const source = document.getElementById(place.dataset.chart);
    if (!source || !window.echarts) return;
    const palette = colours();
    const option = coloured(JSON.parse(source.textContent), palette);
    const axis = { axisLine: { lineStyle: { color: palette.line } }, axisLabel: { color: palette.quiet },
      splitLine: { lineStyle: { color: palette.line } }, nameTextStyle: { color: palette.quiet } };
    for (const name of ["xAxis", "yAxis"]) {
      if (option[name]) option[name] = [].concat(option[name]).map((each) => ({ ...axis, ...each }));
    }
    option.textStyle = { color: palette.ink, fontFamily: "inherit" };
    option.animation = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    // The other renderer writes style attributes, which the policy of this page forbids.
    if (option.tooltip) option.tooltip = { renderMode: "richText", backgroundColor: palette.sheet, borderColor: palette.line, textStyle: { color: palette.ink }, ...option.tooltip };
    if (option.legend) option.legend = { textStyle: { color: palette.ink }, ...option.legend };
    const known = waiting.get(place);
    if (known) known.dispose();
    const chart = window.echarts.init(place);
    waiting.set(place, chart);
    chart.setOption(option);
    chart.on("click", (event) => {
      const to = event.data && event.data.href;
      if (typeof to === "string" && to.startsWith("/") && !to.startsWith("//")) location.assign(to);
    });
    new ResizeObserver(() => chart.resize()).observe(place);
  }

  function drawAll(root) {
    for (const place of root.querySelectorAll("[data-chart]")) draw(place);
  }

  function ready(root) {
    drawAll(root);
    for (const box of root.querySelectorAll("[data-copy]")) {
      box.addEventListener("click", () => navigator.clipboard.writeText(document.getElementById(box.dataset.copy).textContent));
    }
  }

  document.addEventListener("DOMContentLoaded", () => ready(document));

  // What was done is said once: loaded again, or from a bookmark, the page does not say it anew.
  const here = new URL(location.href);
  if (here.searchParams.has("done")) {
    here.searchParams.delete("done");
    history.replaceState(history.state, "", here);
  }
  document.addEventListener("htmx:afterSettle", (event) => ready(event.target));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(document));

  // A second click on a button that sends a form sends nothing.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.sent) { event.preventDefault(); return; }
    if (form.method === "post") form.dataset.sent = "1";
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });

  // The menu of the person closes with Escape and by a click elsewhere.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const open of document.querySelectorAll("details.person[open]")) { open.open = false; open.querySelector("summary").focus(); }
  });
  document.addEventListener("click", (event) => {
    for (const open of document.querySelectorAll("details.person[open]")) if (!open.contains(event.target)) open.open = false;
  });

  // What was watched has ended: say so instead of showing what is not so any more.
  document.addEventListener("htmx:sseClose", (event) => event.target.classList.add("ended"));
  document.addEventListener("htmx:sseError", (event) => event.target.classList.add("stale"));
  document.addEventListener("htmx:sseOpen", (event) => event.target.classList.remove("stale"));
})();
