/* SPDX-License-Identifier: MIT
 * Words and tables: the head of the page, what the run was, every layer's numbers. */
/* columns: [name, is it a number]; cells are text. */
function table(columns, rows) {
  const cell = (name) => (content, i) =>
    html(name, { class: columns[i][1] ? 'n' : null, scope: name === 'th' ? 'col' : null },
      `${content}`);
  return html('div', { class: 'scroll' }, html('table', {},
    html('thead', {}, html('tr', {}, columns.map(([name], i) => cell('th')(name, i)))),
    html('tbody', {}, rows.map((row) => html('tr', {}, row.map(cell('td')))))));
}

function pairs(title, entries) {
  const rows = entries.filter(([, value]) => value !== undefined && value !== null && value !== '');
  if (!rows.length) return null;
  return html('section', {}, html('h3', {}, title), html('table', {}, html('tbody', {},
    rows.map(([name, value]) =>
      html('tr', {}, html('th', { scope: 'row' }, name), html('td', {}, `${value}`))))));
}

const option = (name) => data.job.options?.[name];
const tokens = () => records[0]?.tokens;

function summary() {
  const config = data.config ?? {};
  return [config.model_type, `${data.layers} layers`,
    option('bits') && `${option('bits')} bits in groups of ${option('group-size')}`,
    tokens() && `${integer(tokens())} calibration tokens`].filter(Boolean).join(', ');
}

function notice() {
  if (data.state === 'complete') return null;
  const missing = layers.filter((layer) => !byLayer.has(layer));
  return html('p', { class: 'notice', role: 'status' },
    html('b', {}, 'This run is not finished. '),
    `${records.length} of ${data.layers || 'an unknown number of'} layers are done` +
    `${missing.length ? `; missing: ${ranges(missing)}` : ''}. ` +
    `Its last state is “${data.state}”${data.error ? ` (${data.error})` : ''}. ` +
    'All that follows is about the layers that are done.');
}

function keyFigures() {
  const errors = records.map((record) => relativeError(record, 'loss'));
  const roundings = records.map((record) => relativeError(record, 'rounding'));
  const worst = records.indexOf(worstRecord());
  const clipped = sum(records.map((record) => sum(linears.map((l) => record.linears[l].clipped))));
  const weightGroups = sum(records.map((record) =>
    sum(linears.map((l) => record.linears[l].groups))));
  const entries = [
    ['Relative output error', percent(mean(errors)),
      `plain rounding: ${percent(mean(roundings))}; mean over layers`],
    ['Below plain rounding', times(mean(roundings) / mean(errors)), 'in root mean square error'],
    ['Worst layer', `${records[worst].layer}`,
      `${percent(errors[worst])}; rounding: ${percent(roundings[worst])}`],
    ['Weight groups clipped', percent(clipped / weightGroups),
      `of ${integer(weightGroups)}`],
  ];
  if (timelineWorkers.length)
    entries.push(['Time', duration(timelineSeconds),
      `on ${timelineWorkers.length} worker${timelineWorkers.length > 1 ? 's' : ''}` +
      `${timelineSessions.length > 1 ? `, in ${timelineSessions.length} runs` : ''}`]);
  return html('dl', { class: 'keys' }, entries.map(([name, value, note]) =>
    html('div', {}, html('dt', {}, name), html('dd', {}, value), html('dd', {}, note))));
}

function drawHead() {
  const head = document.getElementById('head');
  head.append(html('div', { class: 'kicker' }, 'AWQ quantization report'),
    html('h1', {}, data.name), html('p', { class: 'lede' }, summary()));
  const warning = notice();
  if (warning) head.append(warning);
  if (records.length) head.append(keyFigures());
}

const sourceFile = ({ file, bytes: size, crc32, header_crc32: header }) => [file,
  `${bytes(size)}, ${crc32 === undefined ? `header crc32 ${header}` : `crc32 ${crc32}`}`];

function facts() {
  const config = data.config ?? {}, job = data.job, used = job.tokens ?? {};
  const began = timelineSessions[0]?.[0];
  return html('div', { class: 'facts' },
    pairs('Model', [['architecture', config.architectures?.join(', ')],
      ['family', config.model_type],
      ['taken as', (job.model ?? []).map((file) => file.taken_as).find(Boolean)],
      ['layers', data.layers], ['hidden size', config.hidden_size],
      ['intermediate size', config.intermediate_size],
      ['attention heads', config.num_attention_heads],
      ['key-value heads', config.num_key_value_heads], ['vocabulary', config.vocab_size],
      ['type', config.torch_dtype ?? config.dtype],
      ['source', (job.model ?? []).map((file) => file.weights).find(Boolean)]]),
    pairs('Calibration', [['sequences', used.sequences && integer(used.sequences)],
      ['tokens in each', used.length && integer(used.length)],
      ['tokens that counted', tokens() && integer(tokens())], ['crc32 of the ids', used.crc32]]),
    pairs('Options that decide the result', Object.entries(job.options ?? {})),
    pairs('Run', [['state', data.state], ['fingerprint', data.fingerprint],
      ['backend', job.backend], ['begun', began && new Date(1e3 * began).toISOString()
        .replace('T', ' ').replace(/\..*/, ' UTC')],
      ['quantized by', `awqrun ${data.version}`], ['reported by', `awqrun ${data.awqrun}`]]),
    pairs('Source files', (job.model ?? []).map(sourceFile)));
}

function layerTable() {
  const columns = [['layer', true], ['error', true], ['rounding', true], ['smaller by', true],
    ...groups.map((group) => [`alpha ${groupName(group)}`, true]), ['clipped', true],
    ['folding check', true], ['worker', true]];
  return html('details', {}, html('summary', {}, 'All layers as a table'),
    table(columns, records.map((record) => {
      const loss = relativeError(record, 'loss'), rounding = relativeError(record, 'rounding');
      return [record.layer, percent(loss), percent(rounding), times(rounding / loss),
        ...groups.map((group) => {
          const { alpha, duo, why } = choice(record, group);
          return alpha === null ? why : alpha.toFixed(2) + (duo ? ' duo' : '');
        }), percent(clippedShare(record, linears)), short(record.fold_error),
        record.when?.worker || ''];
    })));
}
