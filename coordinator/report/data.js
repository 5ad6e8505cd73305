/* SPDX-License-Identifier: MIT
 * The data (README.md has its fields), what follows from it, and numbers as people read them. */
const data = JSON.parse(document.getElementById('data').textContent);
const records = data.records;
const byLayer = new Map(records.map((record) => [record.layer, record]));
const layers = Array.from({ length: data.layers }, (_, layer) => layer);

/* The names of all layers: a sparse layer has others than a dense one. What a layer lacks is put
 * there as `absent`, with nothing in it. */
const namesOf = (field) => [...new Set(records.flatMap((record) => Object.keys(record[field])))];
const groups = namesOf('groups');
const linears = namesOf('linears');
data.grids.push({ alpha: [], duo: [] });
for (const record of records) {
  for (const group of groups)
    record.groups[group] ??= { chosen: -1, grid: data.grids.length - 1, loss: [], measured: [],
      channels: {}, absent: true };
  for (const linear of linears)
    record.linears[linear] ??= { loss: 0, rounding: 0, energy: 0, damp: 0, groups: 0, clipped: 0,
      clips: [], absent: true };
}
const notHere = 'not in this layer';

const groupNames = { qkv: 'q, k, v', o: 'o', gate_up: 'gate, up', down: 'down',
  'shared_expert.down': 'shared down' };
const groupName = (group) => groupNames[group] ?? group;
const linearName = (linear) => linear.replace(/_proj$/, '').replace(/^experts\./, 'expert ')
  .replace(/^shared_expert\./, 'shared ');

const sum = (values) => values.reduce((total, value) => total + value, 0);
const mean = (values) => sum(values) / values.length;
const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);

/* sqrt(squared output error / squared output) over some linears of a layer. `key` is 'loss' for
 * what was written, 'rounding' for plain rounding. */
function relativeError(record, key, names = linears) {
  const of = (field) => sum(names.map((name) => record.linears[name][field]));
  const energy = of('energy');
  return energy > 0 ? Math.sqrt(of(key) / energy) : 0;
}

/* The one whose error is largest; undefined: there is none. */
const worstRecord = () => records.reduce((worst, record) =>
  (worst && relativeError(worst, 'loss') >= relativeError(record, 'loss') ? worst : record),
undefined);

/* What a scale group's search found: {alpha, duo, gain}, gain being how many times smaller the loss
 * is than that of plain rounding. alpha is null if there is none; why says so. */
function choice(record, group) {
  const searched = record.groups[group];
  const grid = data.grids[searched.grid];
  if (searched.absent) return { alpha: null, why: notHere };
  if (!grid.alpha.length) return { alpha: null, why: 'not searched' };
  if (searched.chosen < 0) return { alpha: null, why: 'no finite loss: identity' };
  const loss = searched.loss[searched.chosen];
  return {
    alpha: grid.alpha[searched.chosen],
    duo: grid.duo[searched.chosen] === 1,
    gain: loss > 0 && isNumber(searched.loss[0]) ? searched.loss[0] / loss : null,
  };
}

/* Share of weight groups whose range was cut, of some linears of a layer. */
function clippedShare(record, names) {
  const total = sum(names.map((name) => record.linears[name].groups));
  return total ? sum(names.map((name) => record.linears[name].clipped)) / total : 0;
}

/* ---- numbers ---- */

const integer = (value) => Math.round(value).toLocaleString('en');

/* Three digits: 0.0123, 1.23, 123, 1.2e-7. */
function short(value) {
  if (!isNumber(value)) return 'not finite';
  const size = Math.abs(value);
  if (value === 0) return '0';
  if (size >= 1e6 || size < 1e-4) return value.toExponential(1).replace('e+', 'e');
  return Number(value.toPrecision(3)).toLocaleString('en', { maximumFractionDigits: 6 });
}

const percent = (value) => `${(100 * value).toFixed(value < 0.0995 ? 2 : 1)} %`;
const times = (value) => (isNumber(value) ? `${value.toPrecision(value < 10 ? 2 : 3)}×` : '');

function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(seconds < 1 ? 2 : 1)} s`;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}

const bytes = (value) =>
  value >= 1e9 ? `${(value / 1e9).toPrecision(3)} GB` : `${(value / 1e6).toPrecision(3)} MB`;

/* "layers 3-9, 12" */
function ranges(numbers) {
  const parts = [];
  for (const number of numbers) {
    const last = parts[parts.length - 1];
    if (last && last[1] === number - 1) last[1] = number;
    else parts.push([number, number]);
  }
  return parts.map(([a, b]) => (a === b ? `${a}` : `${a}–${b}`)).join(', ');
}
