/* SPDX-License-Identifier: MIT
 * The loss of each alpha, relative to plain rounding's: a panel for each scale group, the picked
 * layer in front of all others. */
/* [[alpha, loss / identity's]] of one rule, by alpha: candidates need not come in order. */
function lossCurve(record, group, duo) {
  const { loss, grid } = record.groups[group], { alpha, duo: rules } = data.grids[grid];
  if (!(loss[0] > 0)) return [];
  return alpha.map((value, i) => [value, loss[i] / loss[0], i])
    .filter(([, ratio, i]) => isNumber(loss[i]) && ratio > 0 && rules[i] === (duo ? 1 : 0))
    .sort((a, b) => a[0] - b[0]);
}

function lossDomain() {
  const all = records.flatMap((record) => groups.flatMap((group) =>
    [false, true].flatMap((duo) => lossCurve(record, group, duo).map(([, ratio]) => ratio))));
  if (!all.length) return [0.1, 2];
  return [Math.max(1e-4, Math.min(...all) / 1.3), Math.min(6, Math.max(1.3, ...all) * 1.15)];
}

function lossPanelCurves(group, x, y) {
  const record = byLayer.get(page.picked);
  const toPoints = (curve) => curve.map(([alpha, ratio]) => [x(alpha), y(ratio)]);
  const others = records.filter((other) => other !== record)
    .map((other) => path(toPoints(lossCurve(other, group, false)), 'others'));
  if (!record) return others;
  const { chosen } = record.groups[group];
  const share = (i) => record.groups[group].measured[i] ?? 1;
  const tip = ([alpha, ratio, i], rule) =>
    `alpha ${short(alpha)}${rule}\nloss ${short(ratio)} of rounding's` + (share(i) < 1
      ? `\nestimated from ${short(100 * share(i))} % of the rows` : '');
  const kind = (i, rule) => i === chosen ? 'ring'
    : `dot ${rule ? 'second' : 'first'}${share(i) < 1 ? ' estimate' : ''}`;
  const dots = (curve, rule) => curve.map(([alpha, ratio, i]) => svg('circle', {
    cx: round(x(alpha)), cy: round(y(ratio)), r: i === chosen ? 6 : 2.8, class: kind(i, rule),
    'data-tip': tip([alpha, ratio, i], rule) + (i === chosen ? '\nchosen' : '') }));
  const plain = lossCurve(record, group, false), duo = lossCurve(record, group, true);
  return [others, path(toPoints(plain), 'line first'),
    duo.length && svg('g', { 'stroke-dasharray': '4 3' }, path(toPoints(duo), 'line second')),
    dots(plain, ''), dots(duo, ', duo rule')];
}

function lossPanelTitle(group) {
  const record = byLayer.get(page.picked);
  if (!record) return '';
  const { alpha, duo, gain, why } = choice(record, group);
  if (alpha === null) return why;
  return `alpha ${alpha.toFixed(2)}${duo ? ' duo' : ''}${gain ? `, loss ÷ ${short(gain)}` : ''}`;
}

function lossPanel(group, box, domain) {
  const [left, top, width, height] = box, clip = `clip-${group}`;
  const x = linear([0, 1], [left, left + width]);
  const y = logarithmic(domain, [top + height, top]);
  return svg('g', {},
    svg('clipPath', { id: clip }, rect(left - 7, top - 7, width + 14, height + 14, {})),
    text(left, top - 26, groupName(group), { class: 'title' }),
    text(left, top - 10, lossPanelTitle(group), { class: 'strong' }),
    logTicks(...domain).map((tick) => [line(left, y(tick), left + width, y(tick), 'grid'),
      text(left - 7, y(tick) + 4, short(tick), { 'text-anchor': 'end' })]),
    line(left, y(1), left + width, y(1), 'level'),
    text(left + width / 2, top + height + 36, 'alpha', { 'text-anchor': 'middle' }),
    [0, 0.25, 0.5, 0.75, 1].map((tick) =>
      text(x(tick), top + height + 18, tick, { 'text-anchor': 'middle' })),
    svg('g', { 'clip-path': `url(#${clip})` }, lossPanelCurves(group, x, y)));
}

function drawLosses(width) {
  const columns = width > 860 ? 4 : width > 420 ? 2 : 1, panelHeight = 190, rowHeight = 286;
  const column = width / columns, rows = Math.ceil(groups.length / columns);
  const domain = lossDomain();
  return drawing(width, rows * rowHeight, `Loss by alpha, layer ${page.picked}`,
    groups.map((group) => `${groupName(group)}: ${lossPanelTitle(group)}.`).join(' '),
    groups.map((group, i) => lossPanel(group, [(i % columns) * column + 42,
      Math.floor(i / columns) * rowHeight + 42, column - 62, panelHeight], domain)));
}
