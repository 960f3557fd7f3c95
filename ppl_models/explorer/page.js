// The page's controls: z is where a row, a slider, the map or a walk put it, and every concept added by its strength.

const find = (id) => document.getElementById(id);
const state = {
  base: codesAt(facts.walks.codes, 0),
  strengths: facts.concepts.map(() => 0),
  label: facts.walks.told?.[0] ?? null,
  axes: facts.cloud.axes,
  start: 0,
  end: 0,
  at: 0,
  kind: "linear",
  picking: null,
  playing: null,
};
const DURATION = 4000; // milliseconds from one end of a walk to the other

const point = () =>
  state.base.map((x, i) => facts.concepts.reduce((sum, each, k) => sum + state.strengths[k] * each.vector[i], x));
const codeOf = (end) => codesAt(facts.walks.codes, state[end]);
const grouped = (count) => count.toLocaleString("en");
const percent = (share) => `${share > 0 && share < 0.1 ? (100 * share).toFixed(1) : Math.round(100 * share)} %`;

function format(x) {
  const size = Math.abs(x);
  if (size >= 1e7 || (size > 0 && size < 1e-3)) return x.toExponential(2).replace(/-/g, "−");
  return (size >= 1000 || Number.isInteger(x) ? x.toFixed(0) : x.toPrecision(4)).replace("-", "−");
}

function made(tag, parent, properties = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  parent.append(element);
  return element;
}

function raw(column, prepared) {
  const { kind } = facts.columns[column];
  if (kind !== "real" && kind !== "positive") return prepared;
  const straight = prepared * facts.scale[column] + facts.loc[column];
  return kind === "positive" ? Math.exp(straight) : straight;
}

const headOf = [];
for (const head of facts.heads) for (const column of head.columns) headOf[column] = head.kind;

// What the decoded numbers are drawn as: a probability, a share of the highest level, or raw units between two ends.
function greys() {
  if (facts.columns.every(({ kind }) => kind === "binary" || kind === "categorical")) {
    const bits = facts.columns.every(({ kind }) => kind === "binary");
    return [0, 1, bits ? "Black is 0, white is 1: the probability that a pixel is lit."
      : "Black is the lowest level, white the highest: each pixel's mean."];
  }
  const seen = facts.cloud.seen.filter(Boolean).flat();
  const [low, high] = headOf.includes("continuous-bernoulli") ? [0, 1]
    : [seen.reduce((a, b) => Math.min(a, b)), seen.reduce((a, b) => Math.max(a, b))];
  return [low, high, `Black is ${format(low)}, white is ${format(high)}: each pixel's mean, raw units.`];
}

function makePicture() {
  const [low, high, note] = greys();
  const context = find("picture").getContext("2d");
  const image = context.createImageData(facts.image[1], facts.image[0]);
  find("greys").textContent = note;
  return (means) => {
    means.forEach((mean, i) => {
      const { kind, categories } = facts.columns[i];
      const level = kind === "categorical" ? mean / (categories.length - 1) : raw(i, mean);
      image.data.fill(Math.round((255 * (level - low)) / (high - low)), 4 * i, 4 * i + 3);
      image.data[4 * i + 3] = 255;
    });
    context.putImageData(image, 0, 0);
  };
}

const MEANINGS = { real: "mean", positive: "median", count: "mean count", binary: "probability of 1" };

// What is decoded for a column, what the training rows have there, and what kind of number it is.
function cell(column, values, means) {
  const { kind, categories } = facts.columns[column];
  const seen = facts.cloud.seen[column];
  if (kind === "categorical") {
    const code = Math.round(values[column]);
    const meaning = headOf[column] === "categorical" ? `most probable, ${percent(means[column])}` : "mean level, rounded";
    return [categories[code], seen ? `${percent(seen[code])} of them` : "none known", meaning];
  }
  const shown = kind === "binary" ? means[column].toFixed(3) : format(raw(column, means[column]));
  const known = kind === "binary" ? (each) => `${percent(each[1])} are 1` : (each) => each.map(format).join(" to ");
  return [shown, seen ? known(seen) : "none known", MEANINGS[kind]];
}

function makeTable() {
  const lines = facts.columns.map(({ name }) => {
    const line = made("tr", find("cells"));
    const meaning = made("small", made("th", line, { scope: "row", textContent: name }));
    return [...["number decoded", "number"].map((className) => made("td", line, { className })), meaning];
  });
  return (means, values) =>
    lines.forEach((cells, column) =>
      cell(column, values, means).forEach((text, i) => { cells[i].textContent = text; }));
}

function makeSlider(parent, { id, name, detail, low, high, step, changed }) {
  const box = made("div", parent, { className: "slider" });
  const line = made("div", box);
  made("label", line, { htmlFor: id, textContent: name });
  const output = made("output", line, { htmlFor: id });
  output.setAttribute("aria-live", "off");
  const input = made("input", box, { type: "range", id, min: low, max: high, step });
  if (detail) {
    made("small", box, { id: `${id}-detail`, textContent: detail });
    input.setAttribute("aria-describedby", `${id}-detail`);
  }
  input.addEventListener("input", () => { pause(); changed(Number(input.value)); show(); });
  return (value) => {
    if (Math.abs(input.value - value) > step / 2) input.value = value;
    output.textContent = value.toFixed(2).replace(/^-(0\.00)$/, "$1").replace("-", "−");
    input.setAttribute("aria-valuetext", output.textContent);
  };
}

const latents = reach.map(([low, high], i) =>
  makeSlider(find("latents"), {
    id: `z${i + 1}`,
    name: `z${i + 1}`,
    detail: facts.cloud.unused?.[i] ? "hardly used: rows differ little in it" : "",
    low,
    high,
    step: (high - low) / 400,
    changed: (value) => { state.base[i] += value - point()[i]; },
  }));
const concepts = facts.concepts.map(({ name, detail }, k) =>
  makeSlider(find("concepts"), {
    id: `concept-${k}`, name, detail, low: -3, high: 3, step: 0.05, changed: (value) => { state.strengths[k] = value; },
  }));
const paint = facts.image ? makePicture() : makeTable();
const map = find("map") && makeMap(find("map"), {
  state,
  point,
  path: () => Array.from({ length: 49 }, (_, i) => between(codeOf("start"), codeOf("end"), i / 48, state.kind))
    .filter(Boolean),
  move(place) {
    pause();
    const z = point();
    new Set(state.axes).forEach((dimension) => {
      state.base[dimension] += place[state.axes.indexOf(dimension)] - z[dimension];
    });
    show();
  },
  pick(row) {
    find(state.picking).value = row;
    chosen(state.picking);
  },
  picking: () => state.picking,
});

function show() {
  const z = point();
  const { values, means } = decode(z, state.label);
  paint(means, values);
  latents.forEach((set, i) => set(z[i]));
  concepts.forEach((set, k) => set(state.strengths[k]));
  if (facts.prior) {
    const density = logPrior(z);
    find("density").textContent = density.toFixed(2).replace("-", "−");
    find("share").textContent =
      `${percent(shareBelow(density))} of the ${grouped(facts.cloud.count)} encoded training rows have a lower one`;
  }
  if (facts.shares) find("label").value = state.label ?? "";
  find("at").value = state.at;
  find("at-value").textContent = percent(state.at);
  map?.draw();
}

function walkTo(at) {
  const place = between(codeOf("start"), codeOf("end"), at, state.kind);
  find("message").textContent = place ? ""
    : "No one great circle joins these two rows: one is at the origin, or they lie opposite each other. Walk linearly.";
  if (!place) return pause();
  [state.at, state.base] = [at, place];
  return show();
}

function chosen(end) {
  pause();
  state[end] = Number(find(end).value);
  if (facts.walks.told) state.label = facts.walks.told[state[end]];
  pickOnMap(null);
  walkTo(end === "start" ? 0 : 1);
}

function pickOnMap(end) {
  state.picking = state.picking === end ? null : end;
  ["start", "end"].forEach((each) => find(`pick-${each}`)?.setAttribute("aria-pressed", state.picking === each));
  find("message").textContent = state.picking ? "Choose a row on the map; from the keyboard, take the list." : "";
  if (state.picking) find("map").scrollIntoView({ block: "nearest" });
}

function pause() {
  if (state.playing !== null) cancelAnimationFrame(state.playing);
  state.playing = null;
  find("play").textContent = "play";
}

function play() {
  find("play").textContent = "pause";
  let way = state.at < 1 ? 1 : -1, last = null;
  const frame = (now) => {
    const at = state.at + (way * (now - (last ?? now))) / DURATION;
    if (at >= 1 || at <= 0) way = at >= 1 ? -1 : 1;
    last = now;
    state.playing = requestAnimationFrame(frame);
    walkTo(Math.min(Math.max(at, 0), 1));
  };
  state.playing = requestAnimationFrame(frame);
}

function start() {
  const { rows, classes, of } = facts.walks;
  for (const end of ["start", "end"]) {
    rows.forEach((row, i) => {
      const name = classes && classes[i] >= 0 ? `, ${facts.label.name} ${facts.label.classes[classes[i]]}` : "";
      made("option", find(end), { value: i, textContent: `row ${grouped(row)}${name}` });
    });
    find(end).addEventListener("change", () => chosen(end));
    find(`pick-${end}`)?.addEventListener("click", () => pickOnMap(end));
  }
  const other = classes ? classes.findIndex((code) => code !== classes[0]) : -1;
  state.end = other < 0 ? rows.length - 1 : other;
  find("end").value = state.end;
  ["across", "up"].forEach((id, axis) => {
    if (!find(id)) return;
    reach.forEach((_, i) => made("option", find(id), { value: i, textContent: `z${i + 1}` }));
    find(id).value = state.axes[axis];
    find(id).addEventListener("change", () => { state.axes[axis] = Number(find(id).value); map.draw(); });
  });
  find("label")?.addEventListener("change", ({ target }) => {
    state.label = target.value === "" ? null : Number(target.value);
    show();
  });
  document.querySelectorAll("input[name=path]").forEach((radio) =>
    radio.addEventListener("change", () => { state.kind = radio.value; walkTo(state.at); }));
  find("at").addEventListener("input", () => { pause(); walkTo(Number(find("at").value)); });
  find("play").addEventListener("click", () => (state.playing === null ? play() : pause()));
  notes(of);
  show();
}

function notes(of) {
  const { cloud, walks } = facts;
  const drawn = (count, all) => (count < all ? `${grouped(count)} of ${grouped(all)}, drawn at random` : grouped(all));
  const listed = cloud.apart ? ` The larger dots are the rows to walk between (${drawn(walks.rows.length, of)}).` : "";
  if (map) find("map-note").textContent = `Encoded training rows (${drawn(cloud.count, cloud.of)}).${listed} The ring is z: drag it.`;
  if (!map || !cloud.classes) return;
  facts.label.classes.forEach((name, code) => {
    const entry = made("span", find("legend"));
    made("i", entry).style.background = classColour(code);
    entry.append(name);
  });
}

start();
window.explorer = {
  decode: (z, label = null) => Array.from(decode(z, label).values),
  means: (z, label = null) => Array.from(decode(z, label).means),
  logPrior,
  shareBelow,
  between,
  state: () => ({ z: point(), label: state.label, at: state.at, playing: state.playing !== null, start: state.start, end: state.end }),
  pixelsOf: (z) => map.toPixels(z),
};
