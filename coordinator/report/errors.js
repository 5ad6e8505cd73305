/* SPDX-License-Identifier: MIT
 * Figures of what quantization costs: by layer, by linear; and the chosen alphas, and clipping. */
function errorScale(values, range) {
  const positive = values.filter((value) => value > 0);
  const least = Math.min(...positive), most = Math.max(...positive);
  if (most / least < 12) {
    const top = most * 1.06;
    return { scale: linear([0, top], range), ticks: linearTicks(0, top, 5) };
  }
  const domain = [least / 1.2, most * 1.2];
  return { scale: logarithmic(domain, range), ticks: logTicks(...domain) };
}

function errorSeries(key, x, y, className) {
  const points = records.map((record) => [x(record.layer), y(relativeError(record, key))]);
  const radius = layers.length > 40 ? 2.4 : 3.6;
  const dot = ([cx, cy]) => className === 'first'
    ? svg('circle', { cx: round(cx), cy: round(cy), r: radius, class: 'dot first' })
    : rect(cx - radius, cy - radius, 2 * radius, 2 * radius, { class: 'dot second' });
  const runs = []; /* a line is not drawn across layers that are missing */
  records.forEach((record, i) => {
    if (i && records[i - 1].layer === record.layer - 1) runs[runs.length - 1].push(points[i]);
    else runs.push([points[i]]);
  });
  return [runs.map((run) => path(run, `line ${className}`)), points.map(dot)];
}

function errorLegend(width) {
  const x = width - 300;
  return svg('g', {},
    rect(x, 2, 7, 7, { class: 'dot second' }), text(x + 13, 10, 'plain rounding'),
    svg('circle', { cx: x + 140, cy: 5.5, r: 3.6, class: 'dot first' }),
    text(x + 150, 10, 'as written by awqrun'));
}

function drawErrors(width) {
  const height = 280, left = 60, bottom = height - 34;
  const step = (width - left - 14) / layers.length;
  const x = (layer) => left + (layer + 0.5) * step;
  const all = records.flatMap((record) =>
    ['loss', 'rounding'].map((key) => relativeError(record, key)));
  const { scale: y, ticks } = errorScale(all, [bottom, 24]);
  return drawing(width, height, 'Relative output error of each layer',
    `Plain rounding ${percent(mean(records.map((r) => relativeError(r, 'rounding'))))} and as ` +
    `written ${percent(mean(records.map((r) => relativeError(r, 'loss'))))} on average.`,
    errorLegend(width),
    ticks.map((tick) => [line(left, y(tick), width, y(tick), 'grid'),
      text(left - 8, y(tick) + 4, `${short(100 * tick)} %`, { 'text-anchor': 'end' })]),
    line(left, bottom, width, bottom, 'axis'),
    byLayer.has(page.picked) && line(x(page.picked), 20, x(page.picked), bottom, 'guide'),
    errorSeries('rounding', x, y, 'second'), errorSeries('loss', x, y, 'first'),
    layerTicks(step).map((layer) =>
      text(x(layer), bottom + 17, layer, { 'text-anchor': 'middle' })),
    text(left - 8, bottom + 17, 'layer', { 'text-anchor': 'end' }),
    records.map((record) => rect(x(record.layer) - step / 2, 20, step, bottom - 20,
      { class: 'pick', 'data-layer': record.layer, 'data-tip': `layer ${record.layer}\n` +
        `plain rounding ${percent(relativeError(record, 'rounding'))}\n` +
        `as written ${percent(relativeError(record, 'loss'))}` })));
}

const linearViews = {
  loss: { name: 'as written', of: (record, key) => relativeError(record, 'loss', [key]) },
  rounding: { name: 'plain rounding',
    of: (record, key) => relativeError(record, 'rounding', [key]) },
};

function linearTip(record, key) {
  const loss = relativeError(record, 'loss', [key]);
  const rounding = relativeError(record, 'rounding', [key]);
  return `relative error ${percent(loss)}\nplain rounding ${percent(rounding)}` +
    (loss > 0 ? `\n${times(rounding / loss)} smaller` : '') +
    (record.linears[key].damp > 0 ? `\nerror feedback, damp ${record.linears[key].damp}` : '');
}

/* Both views share their shades, so that they can be compared. */
function drawLinears(width) {
  const of = linearViews[page.linearView].of;
  const most = Math.max(...records.flatMap((record) => linears.flatMap((key) =>
    Object.values(linearViews).map((view) => view.of(record, key)))));
  return heatMap(width, {
    label: 'Relative output error by layer and linear',
    description: `Shades from 0 to ${percent(most)}.`,
    rows: linears.map((key) => ({ key, name: linearName(key) })),
    legend: ['0', percent(most)],
    value: (record, key) => {
      if (record.linears[key].absent) return { share: null, text: '', tip: notHere };
      return { share: Math.sqrt(of(record, key) / most),
        text: `${(100 * of(record, key)).toFixed(1)}`, tip: linearTip(record, key) };
    },
  });
}

function alphaTip({ alpha, duo, gain, why }) {
  if (alpha === null) return why;
  return `alpha ${alpha.toFixed(2)}${duo ? ', duo rule' : ''}` +
    (gain ? `\nloss ${times(gain)} below rounding's` : '');
}

function drawAlphas(width) {
  return heatMap(width, {
    label: 'Chosen alpha by layer and scale group',
    description: groups.map((group) => {
      const chosen = records.map((record) => choice(record, group).alpha).filter(isNumber);
      return `${groupName(group)}: ${chosen.length ? `mean ${mean(chosen).toFixed(2)}` : 'none'}.`;
    }).join(' '),
    rows: groups.map((key) => ({ key, name: groupName(key) })),
    legend: ['alpha 0: plain rounding', '1'],
    value: (record, group) => {
      const chosen = choice(record, group);
      return { share: chosen.alpha, text: chosen.alpha?.toFixed(2), tip: alphaTip(chosen) };
    },
  });
}
