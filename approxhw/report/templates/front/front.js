"use strict";
// Draws the plots of a front from the numbers in the page, and sorts its table. Texts are only ever set as text.
(() => {
  const told = JSON.parse(document.getElementById("numbers").textContent);
  const charts = [...document.querySelectorAll(".chart[data-axis]")];
  const rows = [...document.querySelectorAll("table.members tbody tr")];
  const state = { split: told.split, power: "power", scale: "linear", on: null };
  const titles = { expected: "rows never seen, as expected", validation: "validation rows", test: "test rows", train: "training rows" };
  const first = told.axes[0].key;
  const spread = Math.max(...told.members.map(m => m[first])) / Math.min(...told.members.map(m => m[first] || Infinity));
  if (spread > 20) state.scale = "log";

  const make = (name, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const short = (value, digits = 3) => value === 0 ? "0" : Number(value.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 6, useGrouping: false });
  const percent = (value, places = 1) => value === null ? "–" : (100 * value).toFixed(places) + " %";

  const ticks = (low, high, count) => {
    const raw = (high - low) / count || 1;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].find(k => k * power >= raw) * power;
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step);
    return found;
  };
  const decades = (low, high) => {
    const factors = Math.log10(high / low) < 1.6 ? [1, 2, 5] : [1];
    const found = [];
    for (let d = Math.floor(Math.log10(low)); d <= Math.ceil(Math.log10(high)); d++)
      for (const k of factors) if (k * 10 ** d >= low * 0.999 && k * 10 ** d <= high * 1.001) found.push(k * 10 ** d);
    return found;
  };

  const across = (values, marks) => {
    // the domain reaches the next battery where that does not squash everything else
    const most = Math.max(...values), least = Math.min(...values.filter(v => v > 0));
    const next = marks.filter(mark => mark >= most).sort((a, b) => a - b)[0];
    if (state.scale === "log" && isFinite(least)) {
      const low = least / 1.3, high = Math.max(most, next || 0) * 1.3;
      return { low, high, marks: decades(low, high), at: v => Math.log(Math.max(v, low) / low) / Math.log(high / low) };
    }
    const high = (next && next < 2.5 * most ? Math.max(most, next) : most || 1) * 1.06;
    return { low: 0, high, marks: ticks(0, high, 5), at: v => v / high };
  };

  const draw = chart => {
    const axis = told.axes.find(one => one.key === chart.dataset.axis);
    const fed = axis.key === "power" && told.fed !== null && state.power === "fed";
    const key = fed ? "fed" : axis.key;
    const marks = axis.marks;
    const points = told.members.filter(m => m.accuracy[state.split] !== null);
    const width = Math.max(chart.clientWidth, 240), height = Math.min(360, Math.max(270, width * 0.72));
    const left = 46, right = 12, top = 40, bottom = 44;
    const x = across(points.map(m => m[key]), marks);
    const model = told.onnx[state.split];
    const levels = points.map(m => m.accuracy[state.split]).concat(model === null ? [] : [model]);
    const margin = Math.max(0.01, 0.07 * (Math.max(...levels) - Math.min(...levels)));
    const low = Math.max(0, Math.min(...levels) - margin), high = Math.min(1, Math.max(...levels) + margin);
    const px = value => left + x.at(value) * (width - left - right);
    const py = value => top + (high - value) / (high - low) * (height - top - bottom);
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "accuracy over " + axis.name });
    const add = (name, attributes, text) => svg.appendChild(make(name, attributes, text));

    add("text", { class: "title", x: 0, y: 14 }, "Accuracy on " + titles[state.split] + " over " + axis.name);
    for (const value of ticks(low, high, 5)) {
      add("line", { class: "grid", x1: left, x2: width - right, y1: py(value), y2: py(value) });
      add("text", { x: left - 8, y: py(value) + 4, "text-anchor": "end" }, Number((100 * value).toFixed(1)) + " %");
    }
    for (const value of x.marks) {
      add("line", { class: "grid", x1: px(value), x2: px(value), y1: top, y2: height - bottom });
      add("text", { x: px(value), y: height - bottom + 17, "text-anchor": "middle" }, short(value));
    }
    add("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom });
    add("text", { x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle" }, fed ? told.fed : axis.title);
    if (model !== null) {
      add("line", { class: "model", x1: left, x2: width - right, y1: py(model), y2: py(model) });
      add("text", { class: "model-words", x: left + 6, y: py(model) - 5 }, "model itself, " + percent(model));
    }
    for (const mark of marks) {
      if (mark <= x.high) {
        add("line", { class: "battery", x1: px(mark), x2: px(mark), y1: top, y2: height - bottom });
        add("text", { class: "words", x: px(mark), y: top - 4, "text-anchor": "middle" }, mark + " mW");
      }
    }
    const beyond = marks.filter(mark => mark > x.high).sort((a, b) => a - b)[0];
    if (beyond && !marks.some(mark => mark <= x.high && px(mark) > width - 190)) add("text", { x: width - right, y: top - 4, "text-anchor": "end" }, beyond + " mW battery →");
    // with three objectives a member of the front may be beaten in any two of them
    if (told.reach && state.split === told.split && key !== "fed") {
      const path = points.slice().sort((a, b) => a[first] - b[first]).map((m, i) => (i ? `H${px(m[key])}V` : `M${px(m[key])} `) + py(m.accuracy[state.split]));
      add("path", { class: "reach", d: path.join("") + `H${width - right}` });
    }
    for (const m of points) {
      const link = add("a", { ...(m.page ? { href: m.page } : { tabindex: 0 }), "aria-label": `member ${m.index}: ${percent(m.accuracy[state.split])}, ${short(m[key])}` });
      const at = { x: px(m[key]), y: py(m.accuracy[state.split]) };
      const circle = m.mark
        ? make("path", { d: told.marks[m.mark % told.marks.length], transform: `translate(${at.x} ${at.y}) scale(${m.chosen ? 1.25 : 1})`, class: "f" + m.mark, "data-index": m.index })
        : make("circle", { cx: at.x, cy: at.y, r: m.chosen ? 7 : 5.5, "data-index": m.index });
      if (m.chosen) circle.classList.add("chosen");
      link.appendChild(circle);
      for (const event of ["pointerenter", "focus"]) link.addEventListener(event, () => point(m.index, chart));
      for (const event of ["pointerleave", "blur"]) link.addEventListener(event, () => point(null));
      const word = m.chosen ? "chosen" : m.knee ? "knee" : "";
      // the curve rises from the left: there is room below at the right, and above at the left
      const end = m.chosen ? x.at(m[key]) > 0.8 : x.at(m[key]) > 0.15;
      if (word) add("text", { class: "words", x: at.x + (end ? -10 : 10), y: at.y + (m.chosen ? 15 : -7), "text-anchor": end ? "end" : "start" }, word);
    }
    chart.replaceChildren(svg);
  };

  const point = (index, chart) => {
    state.on = index;
    for (const tip of document.querySelectorAll(".tip")) tip.remove();
    for (const circle of document.querySelectorAll(".chart [data-index]")) circle.classList.toggle("on", Number(circle.dataset.index) === index && index !== null);
    for (const row of rows) row.classList.toggle("on", index !== null && Number(row.dataset.index) === index);
    if (index === null || !chart) return;
    const m = told.members.find(member => member.index === index);
    const tip = document.createElement("div");
    tip.className = "tip";
    const head = document.createElement("b");
    head.textContent = `Member ${String(index).padStart(2, "0")}` + (m.chosen ? ", chosen" : "") + (m.knee ? ", knee" : "");
    const list = document.createElement("span");
    const lines = [
      ...(told.expected ? [["Accuracy, expected", percent(m.accuracy.expected, 2)]] : []),
      ["Accuracy, validation", percent(m.accuracy.validation, 2)], ["Accuracy, test", percent(m.accuracy.test, 2)],
      ...told.lines.map(line => [line.name, (line.whole ? String(m[line.key]) : short(m[line.key])) + line.unit]),
    ];
    for (const line of lines) line.forEach((text, column) => {
      const cell = document.createElement(column ? "span" : "i");
      cell.textContent = text;
      cell.style.textAlign = column ? "right" : "left";
      cell.style.display = "block";
      list.appendChild(cell);
    });
    tip.append(head, list);
    chart.appendChild(tip);
    const circle = chart.querySelector(`[data-index="${index}"]`).getBoundingClientRect(), box = chart.getBoundingClientRect();
    const x = circle.left - box.left + circle.width / 2, y = circle.top - box.top;
    tip.style.left = Math.max(0, Math.min(x + 14, box.width - tip.offsetWidth)) + "px";
    tip.style.top = (y - tip.offsetHeight - 8 > -20 ? y - tip.offsetHeight - 8 : y + circle.height + 8) + "px";
  };

  const redraw = () => {
    for (const button of document.querySelectorAll(".controls button")) {
      const [key, value] = Object.entries(button.dataset)[0];
      button.setAttribute("aria-pressed", String(state[key] === value));
    }
    charts.forEach(draw);
  };
  for (const button of document.querySelectorAll(".controls button")) {
    const [key, value] = Object.entries(button.dataset)[0];
    if (key === "split") button.disabled = told.members.every(m => m.accuracy[value] === null || m.accuracy[value] === undefined);
    button.addEventListener("click", () => { state[key] = value; redraw(); });
  }
  document.querySelector(".controls").hidden = false;

  for (const button of document.querySelectorAll("[data-sort]")) button.addEventListener("click", () => {
    const key = button.dataset.sort, head = button.closest("th");
    const falling = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const value = row => { const text = row.querySelector(`td[data-${key}]`).getAttribute("data-" + key); return text === "" ? -Infinity : Number(text); };
    const body = rows[0].parentElement;
    body.append(...rows.slice().sort((a, b) => (value(a) - value(b)) * (falling ? -1 : 1)));
  });
  for (const row of rows) {
    row.addEventListener("pointerenter", () => point(Number(row.dataset.index)));
    row.addEventListener("pointerleave", () => point(null));
  }
  let waiting = 0;
  addEventListener("resize", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(redraw); });
  redraw();
})();
