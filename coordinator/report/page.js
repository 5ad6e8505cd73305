/* SPDX-License-Identifier: MIT
 * The page itself: its sections in order, what can be chosen in it, and when it is drawn. */
const page = {
  picked: worstRecord()?.layer ?? 0, /* the layer that the figures show */
  linearView: 'loss',
  expertView: 'error',
  channelGroup: groups[0],
  drawings: [], /* what is drawn again when a choice or the width changes */
};

/* A figure that draw(width) gives; `controls` are elements above it. */
function figure(title, caption, draw, ...controls) {
  const number = (figure.count = (figure.count ?? 0) + 1);
  const plot = html('div', { class: 'plot' });
  page.drawings.push((width) => plot.replaceChildren(draw(width)));
  return html('figure', {}, html('figcaption', {}, html('b', {}, `Figure ${number}. ${title}. `),
    caption), controls, plot);
}

function redraw(width) {
  const room = width ?? document.getElementById('body').clientWidth;
  for (const draw of page.drawings) draw(room);
}

function set(name, value) {
  page[name] = value;
  redraw();
}

/* One of several, as buttons. */
function oneOf(legend, name, choices) {
  return html('fieldset', {}, html('legend', {}, legend), choices.map(([value, label]) => {
    const input = html('input', { type: 'radio', name, value, checked: page[name] === value });
    input.addEventListener('change', () => set(name, value));
    return html('label', {}, input, label);
  }));
}

/* The layer that figures show: a list, a slider, and one step to either side. */
function layerPicker() {
  const where = () => records.findIndex(({ layer }) => layer === page.picked);
  const go = (index) => index >= 0 && index < records.length && set('picked', records[index].layer);
  const list = html('select', { 'aria-label': 'layer' }, records.map(({ layer }) =>
    html('option', { value: layer }, `layer ${layer}`)));
  const slider = html('input', { type: 'range', min: 0, max: records.length - 1, value: 0,
    'aria-label': 'layer' });
  const before = html('button', { type: 'button', 'aria-label': 'previous layer' }, '‹');
  const after = html('button', { type: 'button', 'aria-label': 'next layer' }, '›');
  list.addEventListener('change', () => set('picked', Number(list.value)));
  slider.addEventListener('input', () => go(Number(slider.value)));
  before.addEventListener('click', () => go(where() - 1));
  after.addEventListener('click', () => go(where() + 1));
  page.drawings.push(() => {
    list.value = page.picked;
    slider.value = where();
  });
  return html('div', { class: 'controls' }, before, list, after, slider);
}

const controls = (...children) => html('div', { class: 'controls' }, children);
const heading = (title) => html('h2', {}, title);

function errorSection() {
  const views = Object.entries(linearViews).map(([key, { name }]) => [key, name]);
  return [heading('What quantization costs'),
    figure('Relative output error of each layer', captions.errors, drawErrors),
    figure('Relative output error by linear', captions.linears, drawLinears,
      controls(oneOf('Show', 'linearView', views)))];
}

function searchSection() {
  const shown = html('b', {}), worst = worstRecord()?.layer;
  const anyDuo = records.some((record) =>
    groups.some((group) => lossCurve(record, group, true).length));
  page.drawings.push(() => (shown.textContent = `Shown: layer ${page.picked}` +
    `${page.picked === worst ? ', which has the largest error' : ''}. `));
  return [heading('How the scales were chosen'),
    figure('Alpha by layer and scale group', captions.alphas, drawAlphas),
    figure('Loss by alpha', [shown, captions.losses, anyDuo && captions.duo], drawLosses,
      layerPicker())];
}

function channelSection() {
  const lasting = html('div', {});
  page.drawings.push(() => lasting.replaceChildren(lastingTable()));
  return [heading('Where activations are large'),
    figure('Input channels that stand out', captions.channels, drawChannels,
      controls(oneOf('Input of', 'channelGroup',
        groups.map((group) => [group, groupName(group)])))),
    html('h3', {}, 'Channels that are large in many layers'), lasting];
}

function expertSection() {
  if (!expertCount) return [];
  const views = Object.entries(expertViews).map(([key, { name }]) => [key, name]);
  return [heading('What experts saw, and what they cost'),
    figure('Routed experts by layer', captions.experts, drawExperts,
      controls(oneOf('Show', 'expertView', views)))];
}

function clipSection() {
  if (!clippedLinears.length) return [];
  const apart = records.some((record) =>
    clippedLinears.some((key) => record.linears[key].clips.length > 1));
  return [heading('Where ranges were clipped'),
    figure('Share of weight groups with a smaller range', captions.clips, drawClips),
    figure('How far ranges were cut', [captions.clipSteps, apart && captions.clipEnds],
      drawClipSteps)];
}

function timeSection() {
  if (!timelineWorkers.length) return [];
  return [heading('Where the time went'),
    figure('Workers over time', captions.timeline, drawTimeline),
    html('h3', {}, 'Time by phase'), timelineTable()];
}

function compose() {
  drawHead();
  const body = document.getElementById('body');
  if (records.length)
    body.append(...errorSection(), ...expertSection(), ...searchSection(), ...channelSection(),
      ...clipSection(), ...timeSection());
  body.append(heading('The run'), facts());
  if (records.length) body.append(layerTable());
  document.getElementById('foot').append(captions.foot,
    html('code', {}, 'awqrun report OUT --csv'), ' prints the numbers.');
}

/* What the mark under the pointer says. */
function showTip(event) {
  const tip = document.getElementById('tip');
  const mark = event.target.closest?.('[data-tip]');
  tip.hidden = !mark;
  if (!mark) return;
  tip.textContent = mark.getAttribute('data-tip');
  const { offsetWidth: width, offsetHeight: height } = tip;
  const left = Math.min(event.clientX + 14, window.innerWidth - width - 8);
  const above = event.clientY + 18 + height > window.innerHeight;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${above ? event.clientY - height - 12 : event.clientY + 18}px`;
}

function pick(event) {
  const mark = event.target.closest?.('[data-layer]');
  if (mark) set('picked', Number(mark.getAttribute('data-layer')));
}

const printWidth = 760;

compose();
redraw();
document.addEventListener('pointermove', showTip);
document.addEventListener('click', pick);
window.addEventListener('resize', () => redraw());
window.addEventListener('beforeprint', () => redraw(printWidth));
window.addEventListener('afterprint', () => redraw());
document.documentElement.dataset.drawn = page.drawings.length;
