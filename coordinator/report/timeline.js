/* SPDX-License-Identifier: MIT
 * When each worker did what. Layers tell when they were worked on; where no layer does, for a
 * while, the job was paused, and the pause is taken out of the axis. */
const spanNames = { read: 'read weights', flow: 'tiles flow', search: 'search scales',
  pack: 'clip, round', write: 'pack, write' };

/* [{worker, host, kind, begin, end, layers, busy}], seconds. The tiles flow through all layers of a
 * stage at once: those are one span. */
function allSpans() {
  const spans = [];
  for (const record of records.filter(({ when }) => when && when.worker > 0))
    data.spans.forEach((_, kind) => {
      const begin = record.when.begin[kind] / 1e3, end = record.when.end[kind] / 1e3;
      if (!(begin > 0 && end >= begin)) return;
      const { worker, host } = record.when, busy = flowSeconds(record);
      const same = data.spans[kind] === 'flow' && spans.find((other) => other.kind === kind &&
        other.worker === worker && other.begin < end && begin < other.end);
      if (!same) {
        spans.push({ worker, host, kind, begin, end, layers: [record.layer], busy });
        return;
      }
      same.begin = Math.min(same.begin, begin);
      same.end = Math.max(same.end, end);
      same.layers.push(record.layer);
      same.busy += busy;
    });
  return spans;
}

const flowSeconds = ({ seconds }) =>
  seconds[data.phases.indexOf('forward')] + seconds[data.phases.indexOf('gram')];

/* Stretches during which somebody worked: [[begin, end]]. */
function sessions(spans) {
  const merged = [];
  for (const { begin, end } of [...spans].sort((a, b) => a.begin - b.begin)) {
    const last = merged[merged.length - 1];
    if (last && begin <= last[1]) last[1] = Math.max(last[1], end);
    else merged.push([begin, end]);
  }
  const worked = sum(merged.map(([begin, end]) => end - begin));
  const pause = Math.max(2, 0.08 * worked), joined = [];
  for (const [begin, end] of merged) {
    const last = joined[joined.length - 1];
    if (last && begin - last[1] < pause) last[1] = end;
    else joined.push([begin, end]);
  }
  return joined;
}

/* Maps a moment to seconds of the run, pauses taken out. */
function clockOf(stretches) {
  return (moment) => {
    let before = 0;
    for (const [begin, end] of stretches) {
      if (moment <= end) return before + Math.max(0, moment - begin);
      before += end - begin;
    }
    return before;
  };
}

const timelineSpans = allSpans();
const timelineSessions = sessions(timelineSpans);
const timelineClock = clockOf(timelineSessions);
const timelineSeconds = sum(timelineSessions.map(([begin, end]) => end - begin));
const timelineWorkers = [...new Set(timelineSpans.map(({ worker }) => worker))]
  .sort((a, b) => a - b);
const hostsOf = (worker) => [...new Set(timelineSpans.filter((span) => span.worker === worker)
  .map(({ host }) => host))].join(', ');

function timeTicks(seconds, room) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200,
    14400, 43200, 86400];
  const step = steps.find((s) => seconds / s <= room) ?? 86400 * Math.ceil(seconds / 86400 / room);
  return Array.from({ length: Math.floor(seconds / step) + 1 }, (_, i) => i * step);
}

function tickText(seconds) {
  if (seconds < 60) return `${Number(seconds.toFixed(1))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
  return `${Math.floor(seconds / 3600)} h ${String((seconds % 3600) / 60).padStart(2, '0')}`;
}

function spanTip({ worker, host, kind, begin, end, layers: of, busy }) {
  const name = data.spans[kind];
  return `${spanNames[name]}: ${duration(end - begin)}\nlayer${of.length > 1 ? 's' : ''} ` +
    `${ranges([...of].sort((a, b) => a - b))}, worker ${worker} on ${host}\nfrom ` +
    `${duration(timelineClock(begin))}` +
    (name === 'flow' && end > begin
      ? `\ncomputing ${percent(Math.min(1, busy / (end - begin)))} of it` : '');
}

function laneName(worker) {
  const hosts = hostsOf(worker);
  return `${worker}  ${hosts.length > 18 ? `${hosts.slice(0, 17)}…` : hosts}`;
}

function timelineLegend(left) {
  let x = left;
  return data.spans.map((name, kind) => {
    const at = x;
    x += 34 + spanNames[name].length * 6.6;
    return [rect(at, 2, 14, 8, { class: `bar${kind}` }), text(at + 19, 10, spanNames[name])];
  });
}

function drawTimeline(width) {
  const kinds = data.spans.length;
  const bar = timelineWorkers.length > 24 ? 2.4 : timelineWorkers.length > 8 ? 4 : 7;
  const lane = kinds * bar + 8, top = 26, left = 152, bottom = top + timelineWorkers.length * lane;
  const x = linear([0, timelineSeconds], [left, width - 24]);
  const laneOf = (worker) => top + timelineWorkers.indexOf(worker) * lane;
  let elapsed = 0;
  const pauses = timelineSessions.slice(0, -1).map(([begin, end], i) => ({
    at: (elapsed += end - begin), seconds: timelineSessions[i + 1][0] - end }));
  return drawing(width, bottom + 34, 'Timeline of the workers',
    `${timelineWorkers.length} workers, ${duration(timelineSeconds)}, ${pauses.length} pauses.`,
    timelineLegend(left),
    text(left - 10, 10, 'worker, host', { 'text-anchor': 'end' }),
    timelineWorkers.map((worker) => [
      rect(left, laneOf(worker), width - 24 - left, lane - 4, { class: 'lane' }),
      text(left - 10, laneOf(worker) + lane / 2 + 1, laneName(worker),
        { 'text-anchor': 'end', class: 'strong', 'data-tip': hostsOf(worker) })]),
    timeTicks(timelineSeconds, width / 110).map((tick) => [
      line(x(tick), top - 4, x(tick), bottom, 'grid'),
      text(x(tick), bottom + 16, tickText(tick), { 'text-anchor': 'middle' })]),
    timelineSpans.map((span) => {
      const from = x(timelineClock(span.begin)), to = x(timelineClock(span.end));
      const at = laneOf(span.worker) + 2 + span.kind * bar;
      return rect(from, at, Math.max(1, to - from), bar - 0.6, {
        class: `bar${span.kind}`, 'data-tip': spanTip(span),
        'data-layer': span.layers.length === 1 ? span.layers[0] : null });
    }),
    pauses.map(({ at, seconds }) => svg('g', { 'data-tip': `paused for ${duration(seconds)}` },
      svg('g', { 'stroke-dasharray': '5 4' },
        line(x(at), top - 6, x(at), bottom + 4, 'second line')),
      text(x(at), bottom + 30, `paused ${duration(seconds)}`,
        { 'text-anchor': x(at) > width / 2 ? 'end' : 'start' }))));
}

/* Seconds of each phase, summed over the layers of a worker. */
function timelineTable() {
  const rows = timelineWorkers.map((worker) => {
    const own = records.filter(({ when }) => when && when.worker === worker);
    const phases = data.phases.map((_, phase) => sum(own.map(({ seconds }) => seconds[phase])));
    return [worker, hostsOf(worker), own.length, ...phases.map(duration), duration(sum(phases))];
  });
  return table([['worker', true], ['host'], ['layers', true],
    ...data.phases.map((name) => [name, true]), ['in all', true]], rows);
}
