/* SPDX-License-Identifier: MIT
 * Clipping: how many groups of weights got a smaller range, and by how much. */
const clippedLinears = linears.filter((key) =>
  records.some((record) => record.linears[key].clipped));

function drawClips(width) {
  const most = Math.max(1e-9, ...records.flatMap((record) =>
    clippedLinears.map((key) => clippedShare(record, [key]))));
  return heatMap(width, {
    label: 'Share of weight groups with a smaller range, by layer and linear',
    description: `Shades from 0 to ${percent(most)}.`,
    rows: clippedLinears.map((key) => ({ key, name: linearName(key) })),
    legend: ['0', percent(most)],
    value: (record, key) => {
      if (record.linears[key].absent) return { share: null, text: '', tip: notHere };
      const share = clippedShare(record, [key]), { clipped: count, groups: all } =
        record.linears[key];
      return { share: share / most, text: `${(100 * share).toFixed(0)} %`,
        tip: `${percent(share)}: ${integer(count)} of ${integer(all)} groups` };
    },
  });
}

/* [share of the groups cut by step 0, 1, ..], for each end that is cut apart. */
const clipShares = (record, key) =>
  record.linears[key].clips.map((steps) => steps.map((count) => count / sum(steps)));

const clipEnds = (shapes) => (shapes > 1 ? [' at the upper end', ' at the lower end'] : ['']);

function clipPanel(key, box, most) {
  const [left, top, width, height] = box, record = byLayer.get(page.picked);
  const all = records.map((other) => clipShares(other, key)).filter((shares) => shares.length);
  const shares = record ? clipShares(record, key) : [], ends = clipEnds(shares.length);
  const steps = all[0][0].length, step = width / steps, y = linear([0, most], [top + height, top]);
  const bar = (step - 2) / (shares.length || 1);
  return svg('g', {},
    text(left, top - 10, linearName(key), { class: 'title' }),
    linearTicks(0, most, 3).map((tick) => [line(left, y(tick), left + width, y(tick), 'grid'),
      text(left - 7, y(tick) + 4, `${round(100 * tick)} %`, { 'text-anchor': 'end' })]),
    shares.map((counts, end) => counts.map((share, j) =>
      rect(left + j * step + end * bar + 1, y(share), bar, top + height - y(share), {
        class: `bar${end ? 3 : 2}`,
        'data-tip': `${linearName(key)}, layer ${page.picked}\n${percent(share)} of the groups ` +
          `smaller by ${5 * j} %${ends[end]}` }))),
    all[0].map((_, end) => all[0][0].map((__, j) => {
      const average = mean(all.map((other) => other[Math.min(end, other.length - 1)][j]));
      const x = left + j * step + end * bar;
      return line(x, y(average), x + bar + 2, y(average), 'here');
    })),
    line(left, top + height, left + width, top + height, 'axis'),
    [0, 3, 6, 9].filter((j) => j < steps).map((j) => text(left + (j + 0.5) * step,
      top + height + 17, `${5 * j} %`, { 'text-anchor': 'middle' })));
}

function drawClipSteps(width) {
  const columns = width > 700 ? Math.min(5, clippedLinears.length) : 2, rowHeight = 190;
  const column = width / columns, rows = Math.ceil(clippedLinears.length / columns);
  const most = 1.05 * Math.max(...records.flatMap((record) => clippedLinears.flatMap((key) =>
    clipShares(record, key).flat())));
  return drawing(width, rows * rowHeight, `Range cut by, layer ${page.picked}`,
    clippedLinears.map((key) => `${linearName(key)}: ${percent(clippedShare(
      byLayer.get(page.picked), [key]))} cut.`).join(' '),
    clippedLinears.map((key, i) => clipPanel(key, [(i % columns) * column + 42,
      Math.floor(i / columns) * rowHeight + 26, column - 54, 122], most)));
}
