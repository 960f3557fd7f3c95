"use strict";
// What the model says of a point z, by the facts and numbers of this page: plain arithmetic in double precision.

const facts = JSON.parse(document.getElementById("facts").textContent);
const numbers = new Float32Array(Uint8Array.from(atob(facts.numbers), (each) => each.charCodeAt(0)).buffer);
const taken = (from, count) => numbers.subarray(from, from + count);

const ACTIVATIONS = {
  silu: (x) => x / (1 + Math.exp(-x)),
  relu: (x) => (x > 0 ? x : 0),
  tanh: Math.tanh,
  softplus: (x) => (x > 20 ? x : Math.log1p(Math.exp(x))),
};

function linear(step, x) {
  const weight = taken(step.weight, step.outputs * step.inputs);
  const y = Float64Array.from(taken(step.bias, step.outputs));
  for (let output = 0, at = 0; output < step.outputs; output++) {
    let sum = y[output];
    for (let input = 0; input < step.inputs; input++) sum += weight[at++] * x[input];
    y[output] = sum;
  }
  return y;
}

// A transposed convolution: each pixel of x adds the kernel, times itself, to the pixels of y around its place.
function up(step, x) {
  const { inputs, outputs, kernel, stride, padding, from: [height, width], to: [rows, columns] } = step;
  const weight = taken(step.weight, inputs * outputs * kernel * kernel);
  const bias = taken(step.bias, outputs);
  const y = new Float64Array(outputs * rows * columns);
  for (let output = 0; output < outputs; output++) {
    const start = output * rows * columns;
    y.fill(bias[output], start, start + rows * columns);
    for (let input = 0; input < inputs; input++) {
      const shared = (input * outputs + output) * kernel * kernel;
      for (let down = 0; down < kernel; down++) {
        for (let across = 0; across < kernel; across++) {
          const w = weight[shared + down * kernel + across];
          const first = Math.max(0, Math.ceil((padding - across) / stride));
          const last = Math.min(width - 1, Math.floor((columns - 1 + padding - across) / stride));
          for (let i = 0; i < height; i++) {
            const row = i * stride - padding + down;
            if (row < 0 || row >= rows) continue;
            const source = (input * height + i) * width;
            let at = start + row * columns + first * stride - padding + across;
            for (let j = first; j <= last; j++, at += stride) y[at] += w * x[source + j];
          }
        }
      }
    }
  }
  return y;
}

// From features by pixels to the numbers of each pixel side by side: one linear layer, and a bias for each pixel.
function pixels(step, x) {
  const { pixels: count, inputs, outputs } = step;
  const weight = taken(step.weight, outputs * inputs);
  const y = Float64Array.from(taken(step.bias, count * outputs));
  for (let output = 0; output < outputs; output++) {
    for (let input = 0; input < inputs; input++) {
      const w = weight[output * inputs + input];
      for (let pixel = 0; pixel < count; pixel++) y[pixel * outputs + output] += w * x[input * count + pixel];
    }
  }
  return y;
}

const LAYERS = { linear, up, pixels };

function run(steps, x) {
  return steps.reduce((y, step) => (LAYERS[step.kind] ? LAYERS[step.kind](step, y) : y.map(ACTIVATIONS[step.kind])), x);
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const within = (x, limit) => (limit === null ? x : Math.min(Math.max(x, -limit), limit));

// coth(t) − 1 / t, by its series where the two cancel.
function langevin(t) {
  const s = t * t;
  if (Math.abs(t) >= 0.1) return 1 / Math.tanh(t) - 1 / t;
  return t * (1 / 3 - s * (1 / 45 - s * (2 / 945 - s * (1 / 4725 - (s * 2) / 93555))));
}

// The standard normal's distribution function, to 1e-7: Press et al., Numerical Recipes (2007), 6.2, erfc.
const ERFC = [
  -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223,
  0.17087277,
];
function normalBelow(x) {
  const t = 1 / (1 + Math.abs(x) / Math.SQRT2 / 2);
  const half = (t * Math.exp((-x * x) / 2 + ERFC.reduceRight((sum, each) => each + t * sum, 0))) / 2;
  return x >= 0 ? 1 - half : half;
}

// The mean level: the sum over levels of the probability of that one or a higher one.
function meanLevel(head, atLeast) {
  let sum = 0;
  for (let level = 1; level < head.levels; level++) sum += atLeast(level);
  return sum;
}

// The means of a head's columns; for categories, the probabilities of each column's side by side.
const MEANS = {
  normal: (head, hidden) => run(head.loc, hidden),
  count: (head, hidden) => run(head.loc, hidden).map((x, i) => numbers[head.unit + i] * Math.exp(within(x, head.limit))),
  bernoulli: (head, hidden) => run(head.loc, hidden).map(sigmoid),
  categorical(head, hidden) {
    const x = run(head.loc, hidden);
    for (let start = 0; start < x.length; start += head.levels) {
      const some = x.subarray(start, start + head.levels);
      const highest = some.reduce((a, b) => Math.max(a, b));
      some.forEach((each, i) => { some[i] = Math.exp(each - highest); });
      const sum = some.reduce((a, b) => a + b);
      some.forEach((each, i) => { some[i] = each / sum; });
    }
    return x;
  },
  "continuous-bernoulli": (head, hidden) =>
    run(head.loc, hidden).map((x, i) => {
      const mean = (1 + langevin((head.steepest * Math.tanh(x / head.steepest)) / 2)) / 2;
      return (mean - numbers[head.subtracted + i]) / numbers[head.divided + i];
    }),
  "discretised-logistic"(head, hidden) {
    const scale = run(head.scale, hidden).map((x) => Math.max(head.floor + head.levels * sigmoid(x - 2), head.sharpest));
    return run(head.loc, hidden).map((x, i) => {
      const loc = ((head.levels - 1) / 2) * (1 + x);
      return meanLevel(head, (level) => sigmoid((loc - level + 0.5) / scale[i]));
    });
  },
  "dequantised-normal": (head, hidden) =>
    run(head.loc, hidden).map((x, i) => {
      const loc = (head.levels / 2) * (1 + x);
      return meanLevel(head, (level) => normalBelow((loc - level) / numbers[head.spread + i]));
    }),
};
const GREY = new Set(["discretised-logistic", "dequantised-normal"]);

// Which classes the decoder is told, and by which shares their means are mixed: one, or all where label is null.
function told(z, label) {
  const x = Float64Array.from(z).subarray(facts.passed);
  if (!facts.shares) return [[x, 1]];
  const classes = facts.shares.map((share, code) => [code, label === null ? share : Number(code === label)]);
  return classes
    .filter(([, share]) => share > 0)
    .map(([code, share]) => [Float64Array.of(...x, ...facts.shares.map((_, each) => Number(each === code))), share]);
}

// What is decoded at z: `values`, what family.decode gives, in prepared units, and `means`, which are not rounded and
// have a category's probability in the place of its code, or, in an image, its mean grey level.
function decode(z, label = null) {
  const values = new Float64Array(facts.columns.length);
  const means = new Float64Array(facts.columns.length);
  const ways = told(z, label).map(([x, share]) => [run(facts.decoder, x), share]);
  for (const head of facts.heads) {
    const each = ways.map(([hidden, share]) => [MEANS[head.kind](head, hidden), share]);
    const mixed = (of) => each[0][0].map((_, i) => each.reduce((sum, [mean, share]) => sum + share * of(mean[i]), 0));
    const mean = mixed((x) => x);
    const typical = GREY.has(head.kind) ? mixed(Math.round) : mean;
    head.columns.forEach((column, i) => {
      values[column] = typical[i];
      means[column] = mean[i];
      if (head.kind !== "categorical") return;
      const shares = mean.subarray(i * head.levels, (i + 1) * head.levels);
      values[column] = shares.indexOf(shares.reduce((a, b) => Math.max(a, b)));
      means[column] = facts.image ? shares.reduce((sum, share, code) => sum + share * code, 0) : shares[values[column]];
    });
  }
  return { values, means };
}

// log p(z), nats: a mixture of normals, and the normal layer below it where there is one; null for no density.
function logPrior(z) {
  const { prior } = facts;
  if (!prior) return null;
  const L = prior.width;
  const terms = Array.from({ length: prior.components }, (_, k) => {
    let squares = 0;
    for (let row = 0; row < L; row++) {
      let sum = 0;
      for (let i = prior.full ? 0 : row; i <= row; i++) {
        const root = numbers[prior.roots + (prior.full ? (k * L + row) * L + i : k * L + i)];
        sum += root * (z[i] - numbers[prior.loc + k * L + i]);
      }
      squares += sum * sum;
    }
    return numbers[prior.constants + k] - squares / 2;
  });
  const highest = Math.max(...terms);
  const above = highest + Math.log(terms.reduce((sum, each) => sum + Math.exp(each - highest), 0));
  return prior.below ? above + logBelow(prior.below, z.slice(0, L), z.slice(L)) : above;
}

function logBelow(below, top, z) {
  const hidden = run(below.network, Float64Array.from(top));
  const loc = run(below.loc, hidden);
  const logScale = run(below.log_scale, hidden).map((x) => within(x, below.limit));
  return loc.reduce((sum, mean, i) => {
    const standard = (z[i] - mean) / Math.exp(logScale[i]);
    return sum - (standard * standard + Math.log(2 * Math.PI)) / 2 - logScale[i];
  }, 0);
}

// A point on the way from one to another, as evaluation.interpolate has it; null where no one great circle joins them.
function between(start, end, at, kind) {
  const straight = start.map((x, i) => (1 - at) * x + at * end[i]);
  if (kind === "linear") return straight;
  const lengths = [Math.hypot(...start), Math.hypot(...end)];
  if (lengths.includes(0)) return null;
  const [a, b] = [start.map((x) => x / lengths[0]), end.map((x) => x / lengths[1])];
  const angle = 2 * Math.atan2(Math.hypot(...a.map((x, i) => x - b[i])), Math.hypot(...a.map((x, i) => x + b[i])));
  if (angle > Math.PI - 1e-6) return null;
  const share = (part) => (angle < 1e-9 ? part : Math.sin(part * angle) / Math.sin(angle));
  const length = (1 - at) * lengths[0] + at * lengths[1];
  return a.map((x, i) => length * (share(1 - at) * x + share(at) * b[i]));
}

// The share of the encoded training rows with a lower log density, from 0 to 1.
function shareBelow(density) {
  const sorted = taken(facts.cloud.densities, facts.cloud.count);
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < density) low = middle + 1;
    else high = middle;
  }
  return low / sorted.length;
}
