// Tables that sort by their headers, rows told when pointed at, pairs of columns to pick.
"use strict";
(() => {
  const GOLDEN = 0.6180339887; // spreads dots within their strip, as in the figure beside the page
  const STRIP = 46, NAME = 16, FOOT = 40, EDGE = 10;

  const element = (name, attributes, ...content) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...content);
    return made;
  };
  const drawing = (name, attributes, ...content) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...content);
    return made;
  };
  const shown = (value) => value.toLocaleString("en", { maximumSignificantDigits: 6 }).replace("-", "−");

  // Tables: a header sorts up, then down, then puts the rows back.

  const number = (text) => {
    const plain = text.replace(/,/g, "").trim();
    return /^[+-]?inf$/.test(plain) ? (plain[0] === "-" ? -Infinity : Infinity) : plain === "–" ? NaN : Number(plain);
  };
  const order = (numeric, sign) => (a, b) => {
    if (!numeric) return sign * a.localeCompare(b, "en", { numeric: true });
    const [x, y] = [number(a), number(b)];
    if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
    return x === y ? 0 : sign * (x < y ? -1 : 1);
  };
  const makeSortable = (table) => {
    const body = table.tBodies[0], rows = [...body.rows], headers = [...table.tHead.rows[0].cells];
    if (rows.length < 2) return;
    headers.forEach((header, column) => {
      const button = element("button", { type: "button" }, ...header.childNodes);
      button.addEventListener("click", () => {
        const now = { ascending: "descending", descending: "" }[header.getAttribute("aria-sort")] ?? "ascending";
        for (const other of headers) other.removeAttribute("aria-sort");
        if (now) header.setAttribute("aria-sort", now);
        const compared = order(header.classList.contains("number"), now === "ascending" ? 1 : -1);
        const text = (row) => row.cells[column].textContent;
        body.append(...(now ? [...rows].sort((a, b) => compared(text(a), text(b))) : rows));
      });
      header.append(button);
    });
  };

  // Axes.

  const ticks = (low, high, most) => {
    const rough = (high - low) / Math.max(most, 1), power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough);
    const first = Math.ceil(low / step - 1e-9), count = Math.floor(high / step + 1e-9) - first + 1;
    return Array.from({ length: count }, (_, place) => (first + place) * step);
  };
  const scale = (low, high, from, to) => {
    const [left, right] = high > low ? [low, high] : [low - 1, high + 1];
    const place = (value) => from + ((Math.min(Math.max(value, left), right) - left) / (right - left)) * (to - from);
    return Object.assign(place, { low: left, high: right });
  };
  const across = (x, width, height, name) => {
    const axis = drawing("g", { "aria-hidden": "true" });
    for (const tick of ticks(x.low, x.high, width / 70)) {
      axis.append(drawing("line", { class: "axis", x1: x(tick), x2: x(tick), y1: 0, y2: height }));
      axis.append(drawing("text", { x: x(tick), y: height + 15, "text-anchor": "middle" }, shown(tick)));
    }
    axis.append(drawing("text", { x: width / 2, y: height + 33, "text-anchor": "middle" }, name));
    return axis;
  };
  const dots = (places, name) =>
    drawing("path", { class: `dots ${name}`, d: places.map(([x, y]) => `M${x.toFixed(1)} ${y.toFixed(1)}h0`).join("") });

  // Rows: a strip a model; the nearest dot, or the one that the arrow keys move to, tells its row.

  const drawRows = (host, data) => {
    const readout = element("p", { class: "readout" }, "Point at a dot, or move along a strip with the arrow keys, to see its row.");
    const ranked = data.values.map((values) => values.map((_, row) => row).sort((a, b) => values[a] - values[b]));
    const told = (row, model) => `${data.models[model]} ${shown(data.values[model][row])}`;
    let rank = data.models.map(() => -1), last = null;

    const draw = (width) => {
      const height = STRIP * data.models.length, x = scale(...data.ends, EDGE, width - EDGE);
      const y = (row, model) => model * STRIP + NAME + ((row * GOLDEN) % 1) * (STRIP - NAME - 10) + 5;
      const svg = drawing("svg", { width, height: height + FOOT });
      svg.append(across(x, width, height, "log density of a row, nats (higher is better)"));
      const marks = drawing("g", { "aria-hidden": "true" });
      const strips = data.models.map((model, at) => {
        const about = { class: "strip", tabindex: 0, role: "slider", "aria-label": `${model}: log density of a row` };
        const strip = drawing("g", { ...about, "aria-valuemin": 1, "aria-valuemax": data.rows.length, "aria-valuenow": rank[at] + 1 });
        strip.setAttribute("aria-valuetext", "no row chosen");
        strip.append(drawing("rect", { class: "ground", x: 0, y: at * STRIP, width, height: STRIP }));
        strip.append(dots(data.values[at].map((value, row) => [x(value), y(row, at)]), ""));
        const [top, bottom] = [at * STRIP + NAME, (at + 1) * STRIP - 4];
        strip.append(drawing("line", { class: "mean", x1: x(data.means[at]), x2: x(data.means[at]), y1: top, y2: bottom }));
        strip.append(drawing("text", { x: EDGE, y: at * STRIP + 12 }, `${model} (${data.kinds[at]})`));
        return strip;
      });
      const choose = (row, model) => {
        rank = ranked.map((rows) => rows.indexOf(row));
        last = [row, model];
        marks.replaceChildren(...data.values.map((values, at) => drawing("circle", { class: "chosen", r: 5, cx: x(values[row]), cy: y(row, at) })));
        const others = data.models.map((_, at) => at).filter((at) => at !== model).map((at) => told(row, at));
        const known = data.cells.map(([name, column]) => `${name} ${column[row]}`);
        const text = [`${told(row, model)} nats`, ...(others.length ? [others.join(", ")] : []), known.join(", ")].join("; ");
        readout.replaceChildren(element("strong", {}, `Row ${data.rows[row]}`), `: ${text}`);
        strips.forEach((strip, at) => {
          strip.setAttribute("aria-valuenow", rank[at] + 1);
          strip.setAttribute("aria-valuetext", `row ${data.rows[row]}, ${shown(data.values[at][row])} nats`);
        });
      };
      strips.forEach((strip, at) => {
        const top = data.rows.length - 1, leap = Math.ceil(top / 10);
        strip.addEventListener("keydown", (event) => {
          const moves = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: leap, PageDown: -leap, Home: -Infinity, End: Infinity };
          if (!(event.key in moves)) return;
          event.preventDefault();
          choose(ranked[at][Math.min(Math.max(rank[at] + moves[event.key], 0), top)], at);
        });
        strip.addEventListener("focus", () => choose(ranked[at][Math.max(rank[at], 0)], at));
      });
      const point = (event) => {
        const box = svg.getBoundingClientRect(), [left, top] = [event.clientX - box.left, event.clientY - box.top];
        const model = Math.floor(top / STRIP);
        if (model < 0 || model >= data.models.length) return;
        const far = (row) => Math.hypot(x(data.values[model][row]) - left, y(row, model) - top);
        choose(data.rows.reduce((nearest, _, row) => (far(row) < far(nearest) ? row : nearest), 0), model);
      };
      for (const kind of ["pointermove", "pointerdown"]) svg.addEventListener(kind, point);
      svg.append(...strips, marks);
      if (last) choose(...last);
      return svg;
    };
    return [draw, [], [readout]];
  };

  // Pairs: two columns picked from lists, data and drawn rows.

  const drawPairs = (host, data) => {
    const lists = [0, 1].map((place) => {
      const options = data.columns.map((column, at) => element("option", { value: at }, column));
      options[place].setAttribute("selected", "");
      return element("select", {}, ...options);
    });
    const labels = lists.map((list, place) => element("label", {}, ["Across ", "Up "][place], list));
    const keys = data.sides.map((side, at) => element("span", { class: at ? "key drawn" : "key" }, side));
    const draw = (width) => {
      const picked = lists.map((list) => Number(list.value)), height = Math.min(420, Math.max(260, width * 0.62));
      const [x, y] = picked.map((column, place) => {
        const known = data.points.flatMap((side) => side[column]).filter((value) => value !== null);
        const [low, high] = [known.reduce((a, b) => Math.min(a, b), Infinity), known.reduce((a, b) => Math.max(a, b), -Infinity)];
        return place ? scale(low, high, height - EDGE, EDGE) : scale(low, high, 64, width - EDGE);
      });
      const label = picked.map((column) => data.columns[column]).join(" against ");
      const svg = drawing("svg", { width, height: height + FOOT, role: "img", "aria-label": label });
      svg.append(across(x, width, height, data.columns[picked[0]]));
      for (const tick of ticks(y.low, y.high, height / 50)) {
        svg.append(drawing("line", { class: "axis", x1: 60, x2: width, y1: y(tick), y2: y(tick) }));
        svg.append(drawing("text", { x: 56, y: y(tick) + 4, "text-anchor": "end" }, shown(tick)));
      }
      data.points.forEach((side, at) => {
        const places = side[picked[0]].map((value, row) => [value, side[picked[1]][row]]);
        const known = places.filter(([a, b]) => a !== null && b !== null);
        svg.append(dots(known.map(([a, b]) => [x(a), y(b)]), at ? "drawn" : "data"));
      });
      return svg;
    };
    const changed = (redraw) => lists.forEach((list) => list.addEventListener("change", redraw));
    return [draw, [element("div", { class: "choice" }, ...labels, ...keys)], [], changed];
  };

  const start = (figure) => {
    const host = figure.querySelector(".live"), data = JSON.parse(figure.querySelector("script").textContent);
    const [draw, above, below, changed = () => {}] = { rows: drawRows, pairs: drawPairs }[figure.dataset.view](host, data);
    const canvas = element("div", {});
    const redraw = () => canvas.clientWidth && canvas.replaceChildren(draw(canvas.clientWidth));
    host.append(...above, canvas, ...below);
    host.hidden = false;
    figure.classList.add("running");
    changed(redraw);
    let width = 0;
    new ResizeObserver(() => {
      if (canvas.clientWidth !== width) redraw();
      width = canvas.clientWidth;
    }).observe(canvas);
  };

  document.querySelectorAll("table").forEach(makeSortable);
  document.querySelectorAll("[data-view]").forEach(start);
})();
