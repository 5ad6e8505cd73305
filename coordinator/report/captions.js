/* SPDX-License-Identifier: MIT
 * What the figures' captions say. */
const captions = {
  errors: `Root of the summed squared error of the linears’ outputs over the squared outputs, on all
    calibration tokens. A layer that is clicked, here or below, is the one in detail below.`,
  linears: 'In per cent; shades follow the square root, and are the same for both views.',
  experts: `Errors are of an expert’s gate, up and down together: gate and up measured on all tokens
    of their layer, down on those that the router sent there. Hatched: the layer has no experts, or
    the expert saw no token, so that its down was rounded plainly.`,
  alphas: `The scale of an input channel is mean|x| to the power of alpha. Alpha 0 is plain
    rounding. Hatched: no alpha was chosen; the tooltip says why.`,
  losses: `The mean squared output error of each candidate, relative to plain rounding’s; the filled
    ring is the choice, thin lines are all other layers. Pale dots are estimates from some of the
    output’s rows, of candidates that these showed to be worse.`,
  duo: ' Dashed: the duo rule.',
  channels: `Left: the 16 channels of each layer with the largest mean|x|; the larger the disc, the
    more it exceeds the median, and those beyond ten times it have the second colour. Vertical
    stripes are channels that are large in every layer. Right: from the median (bar) to the largest
    (circle); 99 % and 99.9 % of the channels are below the two ticks.`,
  clips: `Groups of weights for which a range smaller than their largest weight gave a smaller
    error. q and k are never clipped.`,
  clipSteps: `The share of the picked layer’s groups by how much smaller their range is than their
    largest weight. Short lines: the mean of all layers.`,
  clipEnds: ' Left bars: the upper end of the range; right bars: the lower.',
  timeline: `Each worker’s lane has a row for each kind of work, in the order of the legend. Tiles
    flow through all layers of a stage at once, waiting for other workers included. Work that left
    no record (merging, layers passed through again, what an interruption lost) is not shown; pauses
    are taken out. Clocks are those of the hosts.`,
  foot: `Made by awqrun from its records alone; nothing here was measured anew. docs/awq.md has the
    arithmetic, docs/formats.md the fields. `,
};
