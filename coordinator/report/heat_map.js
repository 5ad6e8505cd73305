/* SPDX-License-Identifier: MIT
 * A heat map: layers from left to right, a row for each of `rows`.
 *
 * value(record, key) gives {share, text, tip}: the shade from 0 to 1, what is written in the cell
 * if there is room, what is said of it. share null: hatched. Layers without a record are
 * outlined. rowHeight: of a row, where it is not as usual; then not every row has room for its
 * name. */
const gutter = 86;

function heatMapCell(map, layer, row, box) {
  const [x, y, width, height] = box;
  const record = byLayer.get(layer);
  const attributes = { 'data-layer': record ? layer : null };
  if (!record)
    return rect(x, y, width, height, { class: 'none', 'data-tip': `layer ${layer}: not done` });
  const { share, text: content, tip } = map.value(record, row.key);
  attributes['data-tip'] = `layer ${layer}, ${row.name}\n${tip}`;
  if (share === null) return hatch(x, y, width, height, attributes);
  const shade = Math.min(1, Math.max(0, share));
  const cell = rect(x, y, width, height,
    { ...attributes, class: 'cell', style: `--v:${shade.toFixed(3)}` });
  if (width < 34 || height < 14) return cell;
  return [cell, text(x + width / 2, y + height / 2 + 4, content,
    { class: shade > 0.45 ? 'on dark' : 'on', 'text-anchor': 'middle' })];
}

/* The shades, with what they stand for at both ends. */
function heatMapLegend(map, x, y) {
  const steps = 24, width = 6;
  return svg('g', {},
    text(x - 8, y + 9, map.legend[0], { 'text-anchor': 'end' }),
    Array.from({ length: steps }, (_, i) => rect(x + i * width, y, width + 0.5, 11,
      { class: 'cell', style: `--v:${(i / (steps - 1)).toFixed(3)}` })),
    text(x + steps * width + 8, y + 9, map.legend[1]));
}

function heatMap(width, map) {
  const cellWidth = Math.min(64, (width - gutter - 2) / layers.length);
  const cellHeight = map.rowHeight ?? 27;
  const named = Math.ceil(14 / cellHeight); /* every so many rows */
  const gap = Math.min(cellWidth, cellHeight) > 10 ? 1 : 0.4;
  const bottom = map.rows.length * cellHeight;
  const at = (layer) => gutter + layer * cellWidth;
  const picked = layers.includes(page.picked) &&
    rect(at(page.picked) - 0.5, -1, cellWidth, bottom + 2, { class: 'here' });
  return drawing(width, bottom + 68, map.label, map.description,
    svg('g', { transform: 'translate(0 2)' },
      map.rows.map((row, r) => [
        r % named === 0 && text(gutter - 10, r * cellHeight + cellHeight / 2 + 4, row.name,
          { 'text-anchor': 'end', class: 'strong' }),
        layers.map((layer) => heatMapCell(map, layer, row,
          [at(layer), r * cellHeight, cellWidth - gap, cellHeight - gap])),
      ]),
      picked,
      layerTicks(cellWidth, 26).map((layer) =>
        text(at(layer) + cellWidth / 2, bottom + 16, layer, { 'text-anchor': 'middle' })),
      text(gutter - 10, bottom + 16, 'layer', { 'text-anchor': 'end' }),
      heatMapLegend(map, gutter + map.legend[0].length * 6.6 + 10, bottom + 40)));
}
