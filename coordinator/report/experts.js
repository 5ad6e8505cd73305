/* SPDX-License-Identifier: MIT
 * Routed experts: a row for each, a column for each layer. */
const expertCount = Math.max(0, ...records.map((record) => record.experts?.error.length ?? 0));

/* of(lists, expert): the number; write(number): as it is read. */
const expertViews = {
  error: { name: 'error as written', of: ({ error }, e) => error[e] / 1e6, write: percent },
  rounding: { name: 'error of plain rounding', of: ({ rounding }, e) => rounding[e] / 1e6,
    write: percent },
  tokens: { name: 'tokens', of: ({ tokens: counts }, e) => counts[e], write: integer },
  alpha: { name: 'alpha of down', of: ({ alpha }, e) => (alpha[e] === null ? null : alpha[e] / 1e3),
    write: (value) => value.toFixed(2) },
};

function expertTip({ experts }, e) {
  if (!experts.tokens[e]) return 'no calibration token came here';
  return Object.values(expertViews).map(({ name, of, write }) => {
    const value = of(experts, e);
    return `${name} ${value === null ? 'none' : write(value)}`;
  }).join('\n');
}

/* Both errors share their shades, so that they can be compared. */
function expertMost() {
  const views = ['error', 'rounding'].includes(page.expertView) ? ['error', 'rounding']
    : [page.expertView];
  return Math.max(1e-9, ...records.filter((record) => record.experts).flatMap((record) =>
    views.flatMap((view) => record.experts.error.map((_, e) =>
      expertViews[view].of(record.experts, e) ?? 0))));
}

function drawExperts(width) {
  const { name, of, write } = expertViews[page.expertView], most = expertMost();
  return heatMap(width, {
    label: `Routed experts by layer: ${name}`,
    description: `${expertCount} experts; shades from 0 to ${write(most)}.`,
    rows: Array.from({ length: expertCount }, (_, key) => ({ key, name: `expert ${key}` })),
    rowHeight: Math.max(3, Math.min(27, 640 / expertCount)),
    legend: ['0', write(most)],
    value: (record, e) => {
      if (!record.experts) return { share: null, text: '', tip: 'this layer has no experts' };
      const value = of(record.experts, e);
      return { share: value === null ? null : Math.sqrt(value / most),
        text: value === null ? '' : write(value).replace(' %', ''), tip: expertTip(record, e) };
    },
  });
}
