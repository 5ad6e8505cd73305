/* SPDX-License-Identifier: MIT
 * Which input channels carry large activations: where they are, and by how much they stand out. */
/* [{index, value, ratio, scale}]: the largest channels, against the group's median. */
function largestChannels(record, group) {
  const { largest = [], quantiles } = record.groups[group].channels;
  const found = [];
  for (let i = 0; i < largest.length; i += 3)
    found.push({ index: largest[i], value: largest[i + 1], scale: largest[i + 2],
      ratio: largest[i + 1] / (quantiles[3] || 1e-30) });
  return found;
}

const standsOut = 10;

function channelRow(record, x, y, room) {
  return largestChannels(record, page.channelGroup).reverse().map(
    ({ index, value, ratio, scale }) => svg('circle', { cx: round(x(index)), cy: round(y),
      r: round(Math.min(room, 1 + 1.05 * Math.sqrt(Math.max(0, Math.log2(ratio))))),
      class: ratio >= standsOut ? 'mark stands' : 'mark', 'data-layer': record.layer,
      'data-tip': `layer ${record.layer}, channel ${index}\nmean|x| ${short(value)}, ` +
        `${times(ratio)} the median\nscale ${short(scale)}` }));
}

/* Median to largest as a line; 99 % and 99.9 % of the channels are below the ticks. */
function spreadRow(record, x, y) {
  const { quantiles } = record.groups[page.channelGroup].channels;
  if (!quantiles) return null;
  const [, , , median, , p99, p999, largest] = quantiles;
  const tick = (value, size) => line(x(value), y - size, x(value), y + size, 'second line');
  return svg('g', {},
    line(x(median), y, x(largest), y, 'first'), tick(p99, 3), tick(p999, 3),
    line(x(median), y - 3, x(median), y + 3, 'first line'),
    svg('circle', { cx: round(x(largest)), cy: round(y), r: 2.6, class: 'dot first' }));
}

function spreadTip(record) {
  const { quantiles } = record.groups[page.channelGroup].channels;
  if (!quantiles) return `layer ${record.layer}`;
  const [, , , median, , p99, p999, largest] = quantiles.map(short);
  return `layer ${record.layer}, mean|x| of a channel\nmedian ${median}\n99 % below ${p99}\n` +
    `99.9 % below ${p999}\nlargest ${largest}`;
}

function channelDomain() {
  const all = records.map((record) => record.groups[page.channelGroup].channels.quantiles)
    .filter(Boolean);
  const least = Math.min(...all.map((q) => q[3]).filter((value) => value > 0));
  const most = Math.max(...all.map((q) => q[7]));
  return all.length && most > 0 ? [least / 1.3, Math.max(most * 1.3, least * 3)] : [0.1, 1];
}

const channelCount = (group) =>
  Math.max(1, ...records.map((record) => record.groups[group].channels.count ?? 1));

function drawChannels(width) {
  const group = page.channelGroup, row = layers.length > 40 ? 9 : layers.length > 12 ? 14 : 26;
  const top = 26, bottom = top + layers.length * row, left = 44;
  const split = left + (width - left) * 0.66, count = channelCount(group);
  const x = linear([0, count - 1], [left + 10, split - 10]);
  const domain = channelDomain(), spread = logarithmic(domain, [split + 40, width - 12]);
  const y = (layer) => top + (layer + 0.5) * row;
  return drawing(width, bottom + 40, `Largest input channels of ${groupName(group)}`,
    `${integer(count)} channels; the largest is ${times(Math.max(...records.flatMap((record) =>
      largestChannels(record, group).slice(0, 1).map(({ ratio }) => ratio))))} its layer's median.`,
    byLayer.has(page.picked) &&
      rect(left, y(page.picked) - row / 2, width - left, row, { class: 'lane' }),
    text(left + 10, 12, `the 16 largest of ${integer(count)} channels, by number`),
    text(split + 40, 12, 'mean|x|: median to largest'),
    layerTicks(row, 15).map((layer) => [text(left - 8, y(layer) + 4, layer,
      { 'text-anchor': 'end' }), line(left, y(layer), width, y(layer), 'grid')]),
    records.map((record) => rect(split + 30, y(record.layer) - row / 2, width - split - 30, row,
      { class: 'pick', 'data-layer': record.layer, 'data-tip': spreadTip(record) })),
    records.map((record) => [channelRow(record, x, y(record.layer), row * 0.62),
      spreadRow(record, spread, y(record.layer))]),
    line(left, bottom, split, bottom, 'axis'), line(split + 30, bottom, width, bottom, 'axis'),
    linearTicks(0, count - 1, 8).map((tick) => text(x(tick), bottom + 16, tick,
      { 'text-anchor': 'middle' })),
    logTicks(...domain).map((tick) => text(spread(tick), bottom + 16, short(tick),
      { 'text-anchor': 'middle' })),
    text(left - 8, 12, 'layer', { 'text-anchor': 'end' }),
    text(left + 10, bottom + 33, 'channel'), text(split + 40, bottom + 33, 'mean|x|'));
}

/* Channels that stand out in many layers are a property of the model, not of one layer. */
function lastingChannels(group) {
  const found = new Map();
  for (const record of records)
    for (const { index, ratio } of largestChannels(record, group)) {
      if (ratio < 2) continue;
      const entry = found.get(index) ?? { index, layers: [], logs: [] };
      entry.layers.push(record.layer);
      entry.logs.push(Math.log(ratio));
      found.set(index, entry);
    }
  return [...found.values()].sort((a, b) =>
    b.layers.length - a.layers.length || mean(b.logs) - mean(a.logs)).slice(0, 8);
}

function lastingTable() {
  const rows = lastingChannels(page.channelGroup).map(({ index, layers: where, logs }) =>
    [index, `${where.length} of ${records.length}`, times(Math.exp(mean(logs))), ranges(where)]);
  if (!rows.length)
    return html('p', {}, 'No channel of this group is twice as large as the median.');
  return table([['channel', true], ['among the 16 largest in', true],
    ['times the median', true], ['layers']], rows);
}
