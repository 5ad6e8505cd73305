/* SPDX-License-Identifier: MIT
 * Elements, scales and axes. All text becomes text nodes: nothing in the data is ever markup. */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes))
    if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value === true ? '' : value);
  for (const child of children.flat(Infinity))
    if (child !== null && child !== undefined && child !== false) element.append(child);
  return element;
}

const html = (name, attributes = {}, ...children) =>
  fill(document.createElement(name), attributes, children);

const svg = (name, attributes = {}, ...children) =>
  fill(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children);

const round = (value) => Math.round(value * 100) / 100;

/* A drawing of so many pixels; `label` and `description` are what is read out in its place. */
function drawing(width, height, label, description, ...children) {
  const id = `description-${(drawing.count = (drawing.count ?? 0) + 1)}`;
  return svg('svg', { viewBox: `0 0 ${round(width)} ${round(height)}`, role: 'img',
    'aria-label': label, 'aria-describedby': id }, svg('desc', { id }, description), children);
}

const text = (x, y, content, attributes = {}) =>
  svg('text', { x: round(x), y: round(y), ...attributes }, content);

const line = (x1, y1, x2, y2, className) =>
  svg('line', { x1: round(x1), y1: round(y1), x2: round(x2), y2: round(y2), class: className });

const rect = (x, y, width, height, attributes) =>
  svg('rect', { x: round(x), y: round(y), width: round(width), height: round(height),
    ...attributes });

const path = (points, className) =>
  svg('path', { class: className,
    d: points.map(([x, y], i) => `${i ? 'L' : 'M'}${round(x)} ${round(y)}`).join('') });

/* ---- scales ---- */

const linear = ([from, to], [start, end]) => (value) =>
  start + ((value - from) / (to - from || 1)) * (end - start);

const logarithmic = ([from, to], range) => {
  const scale = linear([Math.log(from), Math.log(to)], range);
  return (value) => scale(Math.log(Math.max(value, from / 1e3)));
};

/* About `count` round numbers from `from` to `to`. */
function linearTicks(from, to, count) {
  const rough = (to - from) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  const ticks = [];
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to * (1 + 1e-9); i++)
    ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
}

/* Powers of ten, with 2 and 5 (or 3) between them as long as there is room. */
function logTicks(from, to) {
  const decades = Math.log10(to / from);
  const factors = decades < 1.6 ? [1, 2, 5] : decades < 3.2 ? [1, 3] : [1];
  const ticks = [];
  for (let power = Math.floor(Math.log10(from)); power <= Math.log10(to); power++)
    for (const factor of factors) {
      const tick = Number((factor * 10 ** power).toPrecision(6));
      if (tick >= from * 0.999 && tick <= to * 1.001) ticks.push(tick);
    }
  return ticks;
}

/* Every so many layers, such that labels are at least `room` pixels apart. */
function layerTicks(pixels, room = 30) {
  const step = [1, 2, 5, 10, 20, 50, 100].find((s) => s * pixels >= room) ?? 100;
  return layers.filter((layer) => layer % step === 0);
}

/* Diagonal strokes: a cell that has no value for a reason. */
function hatch(x, y, width, height, attributes) {
  const strokes = [];
  for (let d = 4; d < width + height; d += 6) {
    const x1 = Math.min(d, width), x2 = Math.max(0, d - height);
    strokes.push(`M${round(x + x1)} ${round(y + d - x1)}L${round(x + x2)} ${round(y + d - x2)}`);
  }
  return svg('g', attributes, rect(x, y, width, height, { class: 'none' }),
    svg('path', { class: 'hatch', d: strokes.join('') }));
}
