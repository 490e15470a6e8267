"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const data = $("data") ? JSON.parse($("data").textContent) : { values: [], weights: [] };

  /** Makes an element; what begins with "on" is a listener, all else an attribute. */
  function make(name, attributes = {}, ...children) {
    const svg = ["svg", "rect", "line", "path", "text"].includes(name);
    const element = svg ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  }

  const short = (x) => (x === 0 ? "0" : Number(x.toPrecision(3)).toString());
  const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  // ---- theme ------------------------------------------------------------------------------------

  function theme() {
    const button = $("theme"), root = document.documentElement;
    const order = ["system", "light", "dark"];
    let now = "system";
    try { now = localStorage.getItem("onnxq-theme") ?? now; } catch { /* not every viewer has a store */ }
    const show = () => {
      if (now === "system") delete root.dataset.theme;
      else root.dataset.theme = now;
      $("theme-name").textContent = button.title = button.ariaLabel = `Theme: ${now}`;
    };
    button.addEventListener("click", () => {
      now = order[(order.indexOf(now) + 1) % order.length];
      try { localStorage.setItem("onnxq-theme", now); } catch { /* then it holds for this view alone */ }
      show();
    });
    button.hidden = false;
    show();
  }

  // ---- tables -----------------------------------------------------------------------------------

  /** Number or text of a cell; null for an empty one, which stays last however it is sorted. */
  function key(row, column) {
    const cell = row.cells[column];
    const text = cell.dataset.v ?? cell.textContent;
    if (text === "") return null;
    return cell.dataset.v === undefined ? text : Number(text);
  }

  function sortable(table) {
    const body = table.tBodies[0];
    const first = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.firstElementChild?.addEventListener("click", () => {
      const next = { none: "ascending", ascending: "descending", descending: "none" };
      const order = next[head.getAttribute("aria-sort")];
      heads.forEach((other) => other.setAttribute("aria-sort", other === head ? order : "none"));
      let rows = first;
      if (order !== "none") {
        const sign = order === "ascending" ? 1 : -1;
        const keyed = first.map((row) => [key(row, column), row]);
        keyed.sort(([a], [b]) => {
          if (a === null || b === null) return (a === null) - (b === null);
          return sign * (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
        });
        rows = keyed.map(([, row]) => row);
      }
      body.append(...rows);
    }));
  }

  function filterable(id, extra = () => true, controls = []) {
    const table = $(`${id}-table`);
    if (!table) return;
    const rows = [...table.tBodies[0].rows];
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const field = $(`${id}-find`);
    const apply = () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, i) => {
        row.hidden = !(words.every((word) => texts[i].includes(word)) && extra(row));
        shown += !row.hidden;
      });
      $(`${id}-count`).textContent = `${shown} of ${rows.length}`;
    };
    [field, ...controls].forEach((control) => control.addEventListener("input", apply));
  }

  // ---- one layer, everywhere --------------------------------------------------------------------

  let chosen = null;

  function choose(number, { table = true, graph = true, focus = false } = {}) {
    const row = $(`n${number}`), box = $(`g${number}`);
    if (!row) return;
    document.querySelectorAll(".chosen").forEach((element) => element.classList.remove("chosen"));
    chosen = number;
    row.classList.add("chosen");
    box?.classList.add("chosen");
    document.querySelectorAll(`.chart [data-row="${number}"]`).forEach((point) => point.classList.add("chosen"));
    ["layer-detail", "graph-detail"].forEach((id) => $(id)?.replaceChildren(...detail(row, id)));
    if (table) inside(row.closest(".grid"), row);
    if (graph && box) centre(box);
    if (focus && box) box.focus({ preventScroll: true });
  }

  /** Scrolls a container, and nothing else, until an element of it is in its middle. */
  function inside(container, element) {
    const a = container.getBoundingClientRect(), b = element.getBoundingClientRect();
    container.scrollTop += b.top - a.top - (a.height - b.height) / 2;
  }

  function detail(row, home) {
    const heads = [...row.closest("table").tHead.rows[0].cells];
    const list = make("dl");
    [...row.cells].forEach((cell, i) => {
      if (i === 1 || cell.textContent === "") return;
      const term = make("div", i === row.cells.length - 1 ? { class: "full" } : {});
      term.append(make("dt", {}, heads[i].firstElementChild.title || heads[i].textContent),
        make("dd", {}, cell.textContent));
      list.append(term);
    });
    const title = make("h3", {}, make("span", { class: "name" }, row.cells[1].textContent));
    const value = data.values.findIndex((one) => one.name === row.dataset.value);
    if (value >= 0) title.append(link("Histogram", () => { values.show(value); reveal("values"); }));
    const weight = data.weights.findIndex((one) => one.name === row.cells[1].textContent);
    if (weight >= 0) title.append(link("Weights", () => { weights.show(weight); reveal("weights"); }));
    if (home === "layer-detail") {
      title.append(link("In the graph", () => { reveal("graph"); choose(chosen, { focus: true }); }));
    } else {
      title.append(link("In the table", () => { reveal("layers"); choose(chosen); }));
    }
    return [title, list];
  }

  const link = (text, act) => make("button", { type: "button", onclick: act }, text);
  const reveal = (id) => $(id).scrollIntoView({ behavior: still() ? "auto" : "smooth" });

  function layers() {
    const table = $("layers-table");
    if (!table) return;
    const runs = $("layers-runs"), heavy = $("layers-heavy");
    const extra = (row) => (!runs.value || row.dataset.runs === runs.value) && (!heavy.checked || row.dataset.heavy);
    filterable("layers", extra, [runs, heavy]);
    const rows = [...table.tBodies[0].rows];
    rows.forEach((row, i) => { row.tabIndex = i ? -1 : 0; });
    const of = (event) => event.target.closest("tbody tr");
    table.addEventListener("click", (event) => of(event) && choose(of(event).id.slice(1), { table: false }));
    table.addEventListener("focusin", (event) => {
      const row = of(event);
      if (row) rows.forEach((other) => { other.tabIndex = other === row ? 0 : -1; });
    });
    table.addEventListener("keydown", (event) => {
      const row = of(event);
      if (!row) return;
      const ways = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" };
      if (event.key === "Enter") choose(row.id.slice(1), { table: false });
      else if (ways[event.key]) {
        let next = row[ways[event.key]];
        while (next && next.hidden) next = next[ways[event.key]];
        next?.focus();
      } else return;
      event.preventDefault();
    });
    document.querySelectorAll(".chart").forEach((chart) => chart.addEventListener("click", (event) => {
      const point = event.target.closest("[data-row]");
      if (point) { choose(point.dataset.row); reveal("layers"); }
    }));
  }

  // ---- figures ----------------------------------------------------------------------------------

  let W = 1080;
  const H = 300, LEFT = 16, RIGHT = 16, TOP = 16, FOOT = 30;

  function canvas(label) {
    return make("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": label });
  }

  function label(x, text, anchor = "middle") {
    return make("text", { class: "label", x, y: H - 10, "text-anchor": anchor }, text);
  }

  function histogram(value, logarithmic) {
    const [low, high] = value.range ?? [value.min, value.max];
    const end = value.start + value.width * value.counts.length;
    const from = Math.min(value.start, low), to = Math.max(end, high);
    const across = (x) => LEFT + (x - from) / (to - from || 1) * (W - LEFT - RIGHT);
    const size = (n) => (logarithmic ? Math.log1p(n) : n);
    const most = Math.max(1, ...value.counts.map(size));
    const svg = canvas(`Histogram of ${value.name}`);
    if (value.range) svg.append(make("rect", { class: "within", x: across(low), y: TOP, width: across(high) - across(low), height: H - TOP - FOOT }));
    value.counts.forEach((n, i) => {
      if (!n) return;
      const x = value.start + i * value.width;
      const out = value.range && (x + value.width <= low || x >= high);
      const tall = Math.max(1, size(n) / most * (H - TOP - FOOT));
      svg.append(make("rect", { class: out ? "bin out" : "bin", x: across(x), y: H - FOOT - tall, width: Math.max(.8, across(x + value.width) - across(x) - .4), height: tall }));
    });
    svg.append(make("line", { class: "axis", x1: LEFT, x2: W - RIGHT, y1: H - FOOT, y2: H - FOOT }));
    for (const x of value.range ?? []) {
      svg.append(make("line", { class: "end", x1: across(x), x2: across(x), y1: TOP - 8, y2: H - FOOT + 5 }));
      const at = across(x);
      svg.append(label(at, short(x), at < 40 ? "start" : at > W - 40 ? "end" : "middle"));
    }
    const zero = across(0);
    if ([low, high].every((x) => Math.abs(across(x) - zero) > 50) && from < 0 && to > 0) svg.append(label(zero, "0"));
    return svg;
  }

  function told(value) {
    const total = value.zeros + value.counts.reduce((a, b) => a + b, 0);
    const seen = `${short(value.min)} to ${short(value.max)}, mean ${short(value.mean)}, standard deviation ${short(value.std)}; ${short(100 * value.zeros / total)} % exactly zero, which is not drawn.`;
    if (!value.range) return `Float. Seen: ${seen}`;
    const scales = value.scales > 1 ? `, the widest of ${value.scales} channels with scales of their own` : "";
    return `${value.type} from ${short(value.range[0])} to ${short(value.range[1])}${scales}, chosen by ${value.method}; ${short(100 * value.outside)} % lie beyond. Seen: ${seen}`;
  }

  function channels(weight) {
    const all = [...weight.before, ...weight.after];
    const most = Math.max(...all), least = Math.max(most / 1e5, Math.min(...all.filter((x) => x > 0), most));
    const span = Math.log(most / least) || 1, step = (W - LEFT - RIGHT) / weight.before.length;
    const up = (x) => (x > least ? Math.log(x / least) / span : 0) * .94 + .03;
    const y = (x) => H - FOOT - up(x) * (H - TOP - FOOT);
    const svg = canvas(`Ranges of the channels of ${weight.name}`);
    weight.before.forEach((x, i) => svg.append(make("rect", { class: "before", x: LEFT + i * step, y: y(x), width: Math.max(.8, step - .6), height: H - FOOT - y(x) })));
    const points = weight.after.map((x, i) => `${(LEFT + i * step).toFixed(1)} ${y(x).toFixed(1)}H${(LEFT + (i + 1) * step).toFixed(1)}`);
    svg.append(make("path", { class: "after", d: `M${points.join("L")}` }));
    svg.append(label(LEFT, `largest channel, ${short(weight.before[0])}`, "start"), label(W - RIGHT, `smallest, ${short(weight.before.at(-1))}; logarithmic scale`, "end"));
    return svg;
  }

  const compared = (weight) => `${weight.channels} channels with ${weight.perChannel ? "scales of their own" : "one scale"}. Evenness ${weight.even[0].toFixed(2)} before, ${weight.even[1].toFixed(2)} after.`;

  /** A figure with a list to choose from, and buttons to step through it. */
  function chooser(id, list, draw, text) {
    const select = $(`${id}-name`);
    const show = (i) => {
      W = $(`${id}-chart`).clientWidth || W;
      select.selectedIndex = i;
      $(`${id}-chart`).replaceChildren(draw(list[i]));
      $(`${id}-text`).textContent = text(list[i]);
    };
    if (select && list.length) {
      select.append(...list.map((one) => make("option", {}, one.name)));
      select.addEventListener("change", () => show(select.selectedIndex));
      const step = (by) => show((select.selectedIndex + by + list.length) % list.length);
      $(`${id}-before`).addEventListener("click", () => step(-1));
      $(`${id}-next`).addEventListener("click", () => step(1));
    }
    return { show, redraw: () => show(select.selectedIndex) };
  }

  const values = chooser("value", data.values, (value) => histogram(value, $("value-log").checked), told);
  const weights = chooser("weight", data.weights, channels, compared);

  function figures() {
    if ($("value-chart")) {
      $("value-log").addEventListener("change", values.redraw);
      values.show(0);
      new ResizeObserver(values.redraw).observe($("value-chart"));
    }
    if ($("weight-chart")) {
      const gain = (weight) => Math.abs(weight.even[1] - weight.even[0]);
      weights.show(data.weights.reduce((best, one, i, all) => (gain(one) > gain(all[best]) ? i : best), 0));
      new ResizeObserver(weights.redraw).observe($("weight-chart"));
    }
  }

  // ---- graph ------------------------------------------------------------------------------------

  let zoom = 1;

  /** Scales the drawing; the point at (x, y) of the view stays where it is. */
  function scale(to, x, y) {
    const view = $("graph-canvas"), svg = $("graph-svg");
    const { width, height } = svg.viewBox.baseVal;
    to = Math.min(4, Math.max(.05, to));
    x ??= view.clientWidth / 2;
    y ??= view.clientHeight / 2;
    const a = svg.getBoundingClientRect(), b = view.getBoundingClientRect();
    const px = (x + b.left - a.left) / zoom, py = (y + b.top - a.top) / zoom;
    zoom = to;
    svg.setAttribute("width", width * zoom);
    svg.setAttribute("height", height * zoom);
    const c = svg.getBoundingClientRect();
    view.scrollLeft += c.left + px * zoom - b.left - x;
    view.scrollTop += c.top + py * zoom - b.top - y;
    mark();
  }

  /** Shows on the strip which part of the graph is in view. */
  function mark() {
    const view = $("graph-canvas"), frame = $("graph-window");
    const whole = Math.max(view.scrollHeight, 1), tall = view.parentElement.clientHeight;
    frame.style.top = `${view.scrollTop / whole * tall}px`;
    frame.style.height = `${Math.max(8, view.clientHeight / whole * tall)}px`;
  }

  function centre(box) {
    const view = $("graph-canvas");
    const a = view.getBoundingClientRect(), b = box.getBoundingClientRect();
    view.scrollTop += b.top - a.top - (a.height - b.height) / 2;
    view.scrollLeft += b.left - a.left - (a.width - b.width) / 2;
  }

  function draggable(view) {
    let from = null;
    view.addEventListener("pointerdown", (event) => {
      if (event.button || event.pointerType !== "mouse") return;
      from = { x: event.clientX + view.scrollLeft, y: event.clientY + view.scrollTop, moved: false };
    });
    addEventListener("pointermove", (event) => {
      if (!from) return;
      const left = from.x - event.clientX, top = from.y - event.clientY;
      from.moved ||= Math.hypot(left - view.scrollLeft, top - view.scrollTop) > 4;
      if (!from.moved) return;
      view.classList.add("moving");
      view.scrollTo({ left, top, behavior: "instant" });
    });
    addEventListener("pointerup", () => {
      if (from?.moved) addEventListener("click", (event) => event.stopPropagation(), { capture: true, once: true });
      from = null;
      view.classList.remove("moving");
    });
  }

  function search(view) {
    const field = $("graph-find"), boxes = [...view.querySelectorAll("[data-row]")];
    const texts = boxes.map((box) => `${$(`n${box.dataset.row}`).cells[1].textContent} ${box.textContent}`.toLowerCase());
    let found = [], at = -1;
    const step = (by) => {
      if (!found.length) return;
      at = (at + by + found.length) % found.length;
      choose(found[at].dataset.row, { table: false });
      $("graph-count").textContent = `${at + 1} of ${found.length}`;
    };
    field.addEventListener("input", () => {
      const word = field.value.trim().toLowerCase();
      found = word ? boxes.filter((_, i) => texts[i].includes(word)) : [];
      at = -1;
      boxes.forEach((box) => box.classList.remove("found"));
      found.forEach((box) => box.classList.add("found"));
      view.classList.toggle("searching", found.length > 0);
      $("graph-count").textContent = word && !found.length ? "none found" : "";
      step(1);
    });
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); step(event.shiftKey ? -1 : 1); }
    });
  }

  function graph() {
    const view = $("graph-canvas"), strip = $("graph-strip");
    if (!view) return;
    const width = $("graph-svg").viewBox.baseVal.width;
    const fit = () => scale((view.clientWidth - 4) / width, 0, 0);
    $("graph-in").addEventListener("click", () => scale(zoom * 1.3));
    $("graph-out").addEventListener("click", () => scale(zoom / 1.3));
    $("graph-fit").addEventListener("click", fit);
    view.addEventListener("scroll", mark, { passive: true });
    view.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      const b = view.getBoundingClientRect();
      scale(zoom * Math.exp(-event.deltaY / 300), event.clientX - b.left, event.clientY - b.top);
    }, { passive: false });
    view.addEventListener("click", (event) => {
      const box = event.target.closest("[data-row]");
      if (box) choose(box.dataset.row, { graph: false, focus: true });
    });
    view.addEventListener("keydown", (event) => {
      const box = event.target.closest("[data-row]");
      if (event.key === "+" || event.key === "=") scale(zoom * 1.3);
      else if (event.key === "-") scale(zoom / 1.3);
      else if (box && (event.key === "Enter" || event.key === " ")) choose(box.dataset.row, { graph: false });
      else if (box && event.key === "ArrowUp" && box.dataset.above) choose(box.dataset.above.split(" ")[0], { focus: true });
      else if (box && event.key === "ArrowDown" && view.querySelector(`[data-above~="${box.dataset.row}"]`)) {
        choose(view.querySelector(`[data-above~="${box.dataset.row}"]`).dataset.row, { focus: true });
      } else return;
      event.preventDefault();
    });
    const jump = (event) => {
      const b = strip.getBoundingClientRect();
      view.scrollTop = (event.clientY - b.top) / b.height * view.scrollHeight - view.clientHeight / 2;
    };
    strip.addEventListener("pointerdown", (event) => { strip.setPointerCapture(event.pointerId); jump(event); });
    strip.addEventListener("pointermove", (event) => event.buttons && jump(event));
    draggable(view);
    search(view);
    const first = view.querySelector("[data-row]");
    if (first) first.setAttribute("tabindex", "0");
    new ResizeObserver(mark).observe(view);
    const top = view.querySelector(".box");
    if (top) centre(top);
    mark();
  }

  // ---- the rest ---------------------------------------------------------------------------------

  function copying() {
    const button = $("copy");
    if (!button || !navigator.clipboard) return;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText($("command").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }

  function printing() {
    const closed = () => [...document.querySelectorAll("details:not([open])")];
    let opened = [];
    addEventListener("beforeprint", () => { opened = closed(); opened.forEach((one) => { one.open = true; }); });
    addEventListener("afterprint", () => opened.forEach((one) => { one.open = false; }));
  }

  theme();
  document.querySelectorAll("table.data").forEach(sortable);
  layers();
  filterable("refusals");
  filterable("ranges");
  filterable("lint");
  figures();
  graph();
  copying();
  printing();
})();
