// Two dimensions of the encoded rows, drawn on a canvas, with the point z that can be dragged about among them.

const MARGIN = { left: 40, right: 12, top: 12, bottom: 30 };
const codesAt = (from, row) => Array.from(taken(from + row * facts.latent, facts.latent));

// How far sliders and map go in each dimension: over the aggregate posterior, and over all rows that are listed.
const reach = facts.cloud.low.map((low, i) => {
  const listed = facts.walks.rows.map((_, row) => numbers[facts.walks.codes + row * facts.latent + i]);
  return [listed.reduce((a, b) => Math.min(a, b), low), listed.reduce((a, b) => Math.max(a, b), facts.cloud.high[i])];
});

function classColour(code) {
  return code === undefined || code < 0 ? null : facts.palette[code % facts.palette.length];
}

function ticks([low, high]) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((each) => each * power >= rough);
  const first = Math.ceil(low / step);
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => (first + i) * step)
    .map((value) => [value, value.toFixed(decimals).replace(/^-0(\.0*)?$/, "0$1").replace("-", "−")]);
}

// `state` tells the axes and the ends of the walk, `point` the place of z; `move` and `pick` are called with places.
function makeMap(canvas, { state, point, path, move, pick, picking }) {
  const context = canvas.getContext("2d");
  let size = 0;

  const range = (axis) => {
    const [low, high] = reach[state.axes[axis]];
    const air = (high - low) * 0.04;
    return [low - air, high + air];
  };
  const span = (axis) => (axis ? size - MARGIN.top - MARGIN.bottom : size - MARGIN.left - MARGIN.right);
  const toPixels = (code) => [0, 1].map((axis) => {
    const [low, high] = range(axis);
    const share = (code[state.axes[axis]] - low) / (high - low);
    return axis ? size - MARGIN.bottom - share * span(1) : MARGIN.left + share * span(0);
  });
  const toPlace = (x, y) => [x, y].map((pixel, axis) => {
    const [low, high] = range(axis);
    const share = axis ? (size - MARGIN.bottom - pixel) / span(1) : (pixel - MARGIN.left) / span(0);
    return low + Math.min(Math.max(share, 0), 1) * (high - low);
  });

  function dots(from, classes, count, radius, alpha, plain) {
    context.globalAlpha = alpha;
    for (let row = 0; row < count; row++) {
      const [x, y] = toPixels(taken(from + row * facts.latent, facts.latent));
      context.fillStyle = classColour(classes?.[row]) ?? plain;
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
    }
    context.globalAlpha = 1;
  }

  function frame(ink, line) {
    context.strokeStyle = line;
    context.fillStyle = ink;
    context.lineWidth = 1;
    for (const axis of [0, 1]) {
      context.textAlign = axis ? "right" : "center";
      context.textBaseline = axis ? "middle" : "top";
      for (const [value, text] of ticks(range(axis))) {
        const at = toPixels(Object.assign([], { [state.axes[0]]: value, [state.axes[1]]: value }))[axis];
        const ends = axis ? [MARGIN.left, at, size - MARGIN.right, at] : [at, MARGIN.top, at, size - MARGIN.bottom];
        context.beginPath();
        context.moveTo(ends[0], ends[1]);
        context.lineTo(ends[2], ends[3]);
        context.stroke();
        if (axis) context.fillText(text, MARGIN.left - 6, at);
        else context.fillText(text, at, size - MARGIN.bottom + 6);
      }
    }
    context.textBaseline = "alphabetic";
    context.textAlign = "right";
    context.fillText(`z${state.axes[0] + 1}`, size - MARGIN.right, size - MARGIN.bottom - 5);
    context.textAlign = "left";
    context.fillText(`z${state.axes[1] + 1}`, MARGIN.left + 5, MARGIN.top + 10);
  }

  function ends(ink, card) {
    context.strokeStyle = ink;
    context.lineWidth = 1.5;
    context.beginPath();
    path().forEach((code, i) => (i ? context.lineTo(...toPixels(code)) : context.moveTo(...toPixels(code))));
    context.stroke();
    context.textAlign = "center";
    context.font = "600 13px system-ui, sans-serif";
    context.lineJoin = "round";
    const places = ["start", "end"].map((name) => toPixels(codesAt(facts.walks.codes, state[name])));
    const above = places[0][1] <= places[1][1];
    [["from", above], ["to", !above]].forEach(([name, over], i) => {
      const [x, y] = places[i];
      context.fillStyle = ink;
      context.fillRect(x - 4, y - 4, 8, 8);
      const at = [Math.min(Math.max(x, MARGIN.left + 18), size - 22), over && y > 30 ? y - 13 : y + 22];
      context.lineWidth = 4;
      context.strokeStyle = card;
      context.strokeText(name, ...at);
      context.fillText(name, ...at);
    });
  }

  function draw() {
    const style = getComputedStyle(document.documentElement);
    const [ink, soft, line, card, cloud] = ["ink", "soft", "line", "card", "cloud"]
      .map((name) => style.getPropertyValue(`--${name}`).trim());
    const scale = window.devicePixelRatio || 1;
    size = canvas.clientWidth;
    if (canvas.width !== Math.round(size * scale)) canvas.width = canvas.height = Math.round(size * scale);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, size, size);
    context.font = "12px system-ui, sans-serif";
    frame(soft, line);
    dots(facts.cloud.codes, facts.cloud.classes, facts.cloud.count, 2.2, facts.cloud.apart ? 0.4 : 0.8, cloud);
    if (facts.cloud.apart) dots(facts.walks.codes, facts.walks.classes, facts.walks.rows.length, 3.2, 1, soft);
    ends(ink, card);
    const [x, y] = toPlaceWithin(toPixels(point()));
    for (const [colour, width] of [[card, 7], [ink, 3]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      context.arc(x, y, 9, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  const toPlaceWithin = ([x, y]) => [
    Math.min(Math.max(x, MARGIN.left), size - MARGIN.right),
    Math.min(Math.max(y, MARGIN.top), size - MARGIN.bottom),
  ];

  function nearest(x, y) {
    const away = facts.walks.rows.map((_, row) => {
      const [there, down] = toPixels(codesAt(facts.walks.codes, row));
      return Math.hypot(there - x, down - y);
    });
    return away.indexOf(away.reduce((a, b) => Math.min(a, b)));
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (picking()) {
      pick(nearest(event.offsetX, event.offsetY));
      return;
    }
    canvas.setPointerCapture(event.pointerId);
    move(toPlace(event.offsetX, event.offsetY));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (canvas.hasPointerCapture(event.pointerId)) move(toPlace(event.offsetX, event.offsetY));
  });
  canvas.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] }[event.key];
    if (!way) return;
    event.preventDefault();
    const far = event.shiftKey ? 10 : 50;
    move(state.axes.map((dimension, axis) => {
      const [low, high] = reach[dimension];
      return point()[dimension] + (way[axis] * (high - low)) / far;
    }));
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new ResizeObserver(draw).observe(canvas);
  return { draw, toPixels };
}
