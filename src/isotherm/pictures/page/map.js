"use strict";
// The heat map of a page: draws regions by address and time, at any zoom. What stands in the data was
// said by whoever was recorded: it becomes text on a canvas or textContent, never markup.
(() => {
  const root = document.getElementById("map");
  if (!root) return;
  const canvas = root.querySelector("canvas"), tip = root.querySelector(".tip");
  const given = JSON.parse(document.getElementById("map-data").textContent);
  const LEFT = 112, TOP = 22, BOTTOM = 30, STRIP = 14, GAP = 17;
  const RIGHT = () => (canvas.clientWidth > 760 ? 200 : 24) + 2 * (STRIP + GAP);
  const FULL = {t0: 0, t1: given.duration_ms, y0: 0, y1: 1};
  const state = {target: 0, view: {...FULL}, metric: "mean", scale: "log", drag: null, cells: null};
  const ramp = given.colours.map(c => [parseInt(c.slice(1, 3), 16), parseInt(c.slice(3, 5), 16), parseInt(c.slice(5, 7), 16)]);
  const rgb = c => [parseInt(c.slice(1, 3), 16), parseInt(c.slice(3, 5), 16), parseInt(c.slice(5, 7), 16)];
  const idle = rgb(given.idle), unknown = given.unknown.map(rgb);

  const sizeText = n => {
    for (const unit of ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]) {
      if (n < 999.5 || unit === "PiB") return `${unit === "B" || n >= 99.5 ? n.toFixed(0) : n.toFixed(1)} ${unit}`;
      n /= 1024;
    }
  };
  const timeText = ms => {
    const round = Math.abs(ms - Math.round(ms / 1000) * 1000) < 0.5;
    if (ms < 1000 && !round) return `${+ms.toPrecision(3)}ms`;
    if (ms < 60000) return `${round ? Math.round(ms / 1000) : +(ms / 1000).toPrecision(4)}s`;
    const s = Math.round(ms / 1000), h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
    return `${h ? h + "h" : ""}${m || h ? m + "m" : ""}${s % 60 ? (s % 60) + "s" : ""}`;
  };
  const percent = v => v === 0 ? "0%" : v >= 0.0995 ? `${Math.round(100 * v)}%` : v >= 0.0001 ? `${+(100 * v).toPrecision(2)}%` : "0.01%";

  async function unpack(target) {
    if (target.starts) return;
    const packed = Uint8Array.from(atob(target.data), c => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    const buffer = await new Response(stream).arrayBuffer();
    const n = target.windows, m = target.regions;
    let at = 0;
    const take = (kind, count) => {
      const part = new kind(buffer.slice(at, at + count * kind.BYTES_PER_ELEMENT));
      at += count * kind.BYTES_PER_ELEMENT;
      return part;
    };
    target.begins = take(Float64Array, n);
    target.ends = take(Float64Array, n);
    const counts = take(Uint32Array, n), gaps = take(Uint32Array, m), sizes = take(Uint32Array, m);
    target.rates = take(Uint16Array, m);
    target.peaks = target.has_peaks ? take(Uint16Array, m) : target.rates;
    target.blind = take(Uint8Array, m);
    const offsets = new Uint32Array(n + 1), starts = new Uint32Array(m), stops = new Uint32Array(m);
    for (let w = 0, i = 0; w < n; w++) {
      let place = 0;
      for (const end = i + counts[w]; i < end; i++) {
        starts[i] = place = (place + gaps[i]) >>> 0;
        stops[i] = place = (place + sizes[i]) >>> 0;
      }
      offsets[w + 1] = i;
    }
    Object.assign(target, {offsets, starts, stops, data: null});
  }

  // Places are units of memory laid end to end; heights are 0..1, and give each segment some room.
  const segmentAtPlace = (target, place) => {
    let low = 0, high = target.segments.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (target.segments[middle].place <= place) low = middle; else high = middle - 1;
    }
    return target.segments[low];
  };
  const heightOf = (target, place) => {
    const s = segmentAtPlace(target, place);
    return s.low + (s.high - s.low) * (place - s.place) / s.units;
  };
  const placeAt = (target, height) => {
    const s = target.segments.find(one => height < one.high) || target.segments[target.segments.length - 1];
    return Math.min(s.place + s.units - 1e-6, s.place + s.units * (height - s.low) / (s.high - s.low));
  };
  const addressAt = (target, place) => {
    const s = segmentAtPlace(target, place);
    return BigInt("0x" + s.start) + BigInt(Math.floor(place - s.place)) * BigInt(target.unit);
  };
  const nameAt = (target, place) => {
    let low = 0, high = target.names.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1, [from, to, name] = target.names[middle];
      if (place < from) high = middle - 1; else if (place >= to) low = middle + 1; else return name;
    }
    return "";
  };

  function accumulate(target, view, width, height) {
    const size = width * height;
    const hot = new Float32Array(size), seen = new Float32Array(size), blind = new Float32Array(size), peak = new Float32Array(size);
    const h = new Float32Array(height), s = new Float32Array(height), b = new Float32Array(height), p = new Float32Array(height);
    const across = width / (view.t1 - view.t0), up = height / (view.y1 - view.y0);
    const segments = target.segments;
    for (let w = 0; w < target.windows; w++) {
      const x0 = (target.begins[w] - view.t0) * across, x1 = Math.max(x0 + 1e-6, (target.ends[w] - view.t0) * across);
      if (x1 <= 0 || x0 >= width) continue;
      h.fill(0); s.fill(0); b.fill(0); p.fill(0);
      let k = 0;
      for (let i = target.offsets[w]; i < target.offsets[w + 1]; i++) {
        const from = target.starts[i], to = target.stops[i];
        if (from < segments[k].place) k = 0;
        while (k + 1 < segments.length && segments[k + 1].place <= from) k++;
        const g = segments[k], scale = (g.high - g.low) / g.units;
        const y0 = (g.low + (from - g.place) * scale - view.y0) * up, y1 = (g.low + (to - g.place) * scale - view.y0) * up;
        if (y1 <= 0 || y0 >= height) continue;
        const unseen = target.blind[i] / 255, rate = target.rates[i] / 65535, most = target.peaks[i] / 65535;
        const first = Math.max(0, Math.floor(y0)), last = Math.min(height - 1, Math.ceil(y1) - 1);
        for (let y = first; y <= last; y++) {
          const part = Math.min(y1, y + 1) - Math.max(y0, y);
          s[y] += part * (1 - unseen);
          b[y] += part * unseen;
          h[y] += part * (1 - unseen) * rate;
          if (unseen < 1 && most > p[y]) p[y] = most;
        }
      }
      const left = Math.max(0, Math.floor(x0)), right = Math.min(width - 1, Math.ceil(x1) - 1);
      for (let x = left; x <= right; x++) {
        const part = Math.min(x1, x + 1) - Math.max(x0, x);
        for (let y = 0; y < height; y++) {
          if (s[y] === 0 && b[y] === 0) continue;
          const at = y * width + x;
          seen[at] += s[y] * part; blind[at] += b[y] * part; hot[at] += h[y] * part;
          if (p[y] > peak[at]) peak[at] = p[y];
        }
      }
    }
    return {width, height, hot, seen, blind, peak};
  }

  const valueAt = (cells, at) => {
    if (!(cells.seen[at] > 1e-9)) return null;
    return state.metric === "max" ? cells.peak[at] : cells.hot[at] / cells.seen[at];
  };

  function boundsOf(cells) {
    if (state.scale === "linear") return {bounds: Array.from({length: 64}, (_, i) => i / 64), most: 1};
    const found = [];
    for (let at = 0; at < cells.seen.length; at++) { const v = valueAt(cells, at); if (v) found.push(v); }
    if (!found.length) return {bounds: Array.from({length: 64}, (_, i) => i / 64), most: 1};
    const sorted = Float32Array.from(found).sort();
    if (state.scale === "log") {
      const most = sorted[sorted.length - 1];
      return {bounds: Array.from({length: 64}, (_, i) => i ? most * 1000 ** (i / 64 - 1) : 0), most};
    }
    const bounds = Array.from({length: 64}, (_, i) => i ? sorted[Math.floor(i * sorted.length / 64)] : 0);
    return {bounds, most: sorted[sorted.length - 1]};
  }
  const stepOf = (scale, heat) => {
    let low = 0, high = scale.bounds.length;
    while (low < high) { const middle = (low + high) >> 1; if (scale.bounds[middle] <= heat) low = middle + 1; else high = middle; }
    return Math.max(0, low - 1);
  };
  const placeOf = (scale, heat) => {
    if (heat >= scale.most) return 1;
    const i = stepOf(scale, heat), low = scale.bounds[i], high = i + 1 < scale.bounds.length ? scale.bounds[i + 1] : scale.most;
    return (i + (heat - low) / (high > low ? high - low : 1)) / scale.bounds.length;
  };
  const heatAt = (scale, place) => {
    const ends = [...scale.bounds, scale.most], n = scale.bounds.length, i = Math.min(n - 1, Math.floor(place * n));
    return ends[i] + (ends[i + 1] - ends[i]) * (place * n - i);
  };
  const colourOf = heat => ramp[Math.round(placeOf(state.bounds, heat) * (ramp.length - 1))];

  function paint(cells) {
    const image = new ImageData(cells.width, cells.height), data = image.data, absent = rgb(css("--absent"));
    let before = -1, colourBefore = null;
    for (let y = 0; y < cells.height; y++) {
      for (let x = 0; x < cells.width; x++) {
        const from = y * cells.width + x, to = 4 * ((cells.height - 1 - y) * cells.width + x);
        const heat = valueAt(cells, from), hidden = cells.blind[from], seen = cells.seen[from];
        let colour = absent;
        if (heat) {
          if (heat !== before) { before = heat; colourBefore = colourOf(heat); }
          colour = colourBefore;
        }
        else if (hidden > seen && hidden > 1e-9) colour = unknown[((x - y + 4096) >> 2) & 1];
        else if (heat === 0) colour = idle;
        data[to] = colour[0]; data[to + 1] = colour[1]; data[to + 2] = colour[2]; data[to + 3] = 255;
      }
    }
    return image;
  }

  const css = name => getComputedStyle(root).getPropertyValue(name).trim();
  const area = () => ({x: LEFT, y: TOP, width: canvas.clientWidth - LEFT - RIGHT(), height: canvas.clientHeight - TOP - BOTTOM});

  function draw() {
    const target = given.targets[state.target];
    const began = performance.now();
    const ratio = Math.min(2, window.devicePixelRatio || 1), box = area();
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    const width = Math.max(1, Math.round(box.width * ratio)), height = Math.max(1, Math.round(box.height * ratio));
    if (!state.bounds) state.bounds = boundsOf(accumulate(target, FULL, Math.min(width, 320), Math.min(height, 225)));
    const cells = state.cells = accumulate(target, state.view, width, height);
    const c = canvas.getContext("2d");
    c.clearRect(0, 0, canvas.width, canvas.height);
    c.putImageData(paint(cells), Math.round(LEFT * ratio), Math.round(TOP * ratio));
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    strips(c, cells, box);
    axes(c, target, box);
    legend();
    root.dataset.drawMs = (performance.now() - began).toFixed(1);
    root.dataset.ready = String(+(root.dataset.ready || 0) + 1);
  }

  function strips(c, cells, box) {
    const absent = rgb(css("--absent"));
    c.font = "11px system-ui, sans-serif"; c.textAlign = "center"; c.textBaseline = "alphabetic";
    ["mean", "max"].forEach((label, n) => {
      const x = box.x + box.width + GAP + n * (STRIP + GAP);
      c.fillStyle = css("--grey");
      c.fillText(label, x + STRIP / 2, box.y - 6);
      for (let y = 0; y < cells.height; y++) {
        let hot = 0, seen = 0, peak = 0, hidden = 0;
        for (let i = y * cells.width, end = i + cells.width; i < end; i++) {
          hot += cells.hot[i]; seen += cells.seen[i]; hidden += cells.blind[i];
          if (cells.peak[i] > peak) peak = cells.peak[i];
        }
        const heat = n ? peak : hot / seen;
        const colour = seen > 0 ? (heat > 0 ? colourOf(heat) : idle) : hidden > 0 ? unknown[0] : absent;
        c.fillStyle = `rgb(${colour})`;
        c.fillRect(x, box.y + box.height * (1 - (y + 1) / cells.height), STRIP, box.height / cells.height + 0.5);
      }
    });
  }

  function axes(c, target, box) {
    const view = state.view, ink = css("--ink"), grey = css("--grey"), ground = css("--ground"), line = css("--line");
    const yOf = height => box.y + box.height * (1 - (height - view.y0) / (view.y1 - view.y0));
    c.font = "11px ui-monospace, 'DejaVu Sans Mono', monospace"; c.textAlign = "right"; c.textBaseline = "middle"; c.fillStyle = grey;
    let free = Infinity;
    for (const s of target.segments) {
      if (s.high <= view.y0 || s.low >= view.y1) continue;
      const bottom = yOf(Math.max(s.low, view.y0)), top = yOf(Math.min(s.high, view.y1));
      const count = Math.max(1, Math.floor((bottom - top) / 80));
      for (let n = 0; n <= count; n++) {
        const y = bottom + (top - bottom) * n / count, shown = Math.min(box.y + box.height - 5, Math.max(box.y + 5, y + (n ? n === count ? 6 : 0 : -1)));
        if (shown > free - 12) continue;
        const height = view.y0 + (view.y1 - view.y0) * (box.y + box.height - y) / box.height;
        const at = n === count && s.high <= view.y1 ? BigInt("0x" + s.end) : addressAt(target, placeAt(target, Math.min(height, s.high - 1e-12)));
        c.fillText((at & ~BigInt(target.unit - 1)).toString(16), box.x - 8, shown);
        free = shown;
      }
      if (s.low > view.y0) { c.fillStyle = ground; c.fillRect(box.x - 5, yOf(s.low) - 0.75, box.width + 5, 1.5); c.fillStyle = grey; }
    }
    c.textBaseline = "top";
    const span = view.t1 - view.t0, steps = [];
    for (let n = -3; n < 10; n++) for (const m of [1, 2, 5]) steps.push(m * 10 ** n);
    steps.push(15000, 30000, 60000, 120000, 300000, 600000, 1800000, 3600000, 7200000, 21600000);
    const step = steps.filter(n => span / n <= Math.max(2, box.width / 90)).sort((a, b) => a - b)[0] || span;
    for (let t = Math.ceil(view.t0 / step - 1e-9) * step; t <= view.t1 + step * 1e-6; t += step) {
      const x = box.x + box.width * (t - view.t0) / span;
      c.fillStyle = line; c.fillRect(x - 0.5, box.y + box.height, 1, 5);
      c.fillStyle = grey; c.textAlign = x > box.x + box.width - 16 ? "right" : x < box.x + 16 ? "left" : "center";
      c.fillText(timeText(t), x, box.y + box.height + 9);
    }
    if (RIGHT() > 100) names(c, target, box, yOf, ink, line);
  }

  function names(c, target, box, yOf, ink, line) {
    const x = box.x + box.width + 2 * (STRIP + GAP) + GAP, room = canvas.clientWidth - x - 14, view = state.view, taken = [];
    const runs = [];
    for (const [from, to, name] of target.names) {
      const low = heightOf(target, from), high = heightOf(target, to - 1e-6);
      if (high > view.y0 && low < view.y1) runs.push([yOf(Math.min(high, view.y1)), yOf(Math.max(low, view.y0)), name]);
    }
    runs.sort((a, b) => (b[1] - b[0]) - (a[1] - a[0]));
    c.font = "12px system-ui, sans-serif"; c.textAlign = "left"; c.textBaseline = "middle";
    for (const [top, bottom, name] of runs) {
      const y = Math.min(box.y + box.height - 6, Math.max(box.y + 6, (top + bottom) / 2));
      if (taken.length > 60 || taken.some(other => Math.abs(other - y) < 13)) continue;
      taken.push(y);
      c.fillStyle = line; c.fillRect(x, top + 0.5, 2, Math.max(1, bottom - top - 1));
      c.fillStyle = ink;
      let text = name.slice(0, 300);
      for (let kept = text.length - 1; kept > 2 && c.measureText(text).width > room; kept--)
        text = name.slice(0, kept / 3) + "…" + name.slice(name.length - (kept - Math.floor(kept / 3)));
      c.fillText(text, x + 8, y);
    }
  }

  function legend() {
    const bar = root.querySelector(".scale"), marks = root.querySelector(".marks"), c = bar.getContext("2d");
    ramp.forEach((colour, i) => { c.fillStyle = `rgb(${colour})`; c.fillRect(i, 0, 1, 1); });
    marks.textContent = "";
    const told = new Set();
    for (let n = 0; n <= 4; n++) {
      const heat = n === 4 ? state.bounds.most : heatAt(state.bounds, n / 4), mark = document.createElement("span");
      const text = heat ? percent(heat) : ">0%";
      if (!told.has(text)) mark.textContent = text;
      told.add(text);
      marks.append(mark);
    }
  }

  function regionAt(target, window, place) {
    let low = target.offsets[window], high = target.offsets[window + 1] - 1;
    for (let i = low; i <= high; i++) if (target.starts[i] <= place && place < target.stops[i]) return i;
    return -1;
  }

  // For how long nothing was seen used there, as of a window, and whether that is all that is known.
  function idleFor(target, window, place) {
    for (let w = window; w >= 0; w--) {
      const i = regionAt(target, w, place);
      if (i < 0 || target.blind[i] > 127) return [target.ends[window] - target.ends[w], false];
      if (target.rates[i]) return [target.ends[window] - target.ends[w], true];
    }
    return [target.ends[window] - target.begins[0], false];
  }

  function told(x, y) {
    const target = given.targets[state.target], box = area(), view = state.view, cells = state.cells;
    if (!cells || x < box.x || y < box.y || x >= box.x + box.width || y >= box.y + box.height) return null;
    const t = view.t0 + (view.t1 - view.t0) * (x - box.x) / box.width;
    const height = view.y0 + (view.y1 - view.y0) * (1 - (y - box.y) / box.height);
    const place = placeAt(target, height), name = nameAt(target, place);
    const column = Math.min(cells.width - 1, Math.floor(cells.width * (x - box.x) / box.width));
    const row = Math.min(cells.height - 1, Math.floor(cells.height * (1 - (y - box.y) / box.height)));
    const at = row * cells.width + column, seen = cells.seen[at], hidden = cells.blind[at];
    const lines = [`0x${addressAt(target, place).toString(16)}   ${timeText(t)}`];
    if (name) lines.push(name);
    if (!(seen > 1e-9)) lines.push(hidden > 1e-9 ? "unknown: could not be observed" : given.idle_is_there ? "not in memory" : "not mapped");
    else {
      lines.push(`accessed in ${percent(cells.hot[at] / seen)} of samples, at most ${percent(cells.peak[at])}`);
      if (hidden > 1e-9) lines.push(`${percent(hidden / (seen + hidden))} unknown`);
    }
    let window = 0;
    while (window + 1 < target.windows && target.ends[window] <= t) window++;
    const region = regionAt(target, window, place);
    if (region >= 0 && target.blind[region] <= 127) {
      const size = (target.stops[region] - target.starts[region]) * target.unit, text = [`${given.what} of ${sizeText(size)}`];
      if (!target.rates[region]) {
        const [ms, known] = idleFor(target, window, place);
        text.push(`${given.idle_is_there ? "idle" : "idle or absent"} for ${timeText(Math.max(0, ms))}${known ? "" : " or longer"}`);
      }
      lines.push(text.join(", "));
    }
    return lines;
  }

  function hover(event) {
    const place = canvas.getBoundingClientRect(), x = event.clientX - place.left, y = event.clientY - place.top, lines = told(x, y);
    tip.hidden = !lines;
    if (!lines) return;
    tip.textContent = lines.join("\n");
    tip.style.left = `${Math.max(0, Math.min(x + 14, canvas.clientWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${y + 18 + tip.offsetHeight > canvas.clientHeight ? Math.max(0, y - tip.offsetHeight - 10) : y + 18}px`;
  }

  function look(view) {
    const least = given.duration_ms / 1e6, wide = Math.min(FULL.t1, Math.max(least, view.t1 - view.t0)), high = Math.min(1, Math.max(1e-9, view.y1 - view.y0));
    const t0 = Math.min(FULL.t1 - wide, Math.max(0, view.t0)), y0 = Math.min(1 - high, Math.max(0, view.y0));
    state.view = {t0, t1: t0 + wide, y0, y1: y0 + high};
    root.dataset.view = JSON.stringify(state.view);
    soon();
  }
  let pending = false;
  function soon() {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => { pending = false; draw(); });
  }
  function zoom(factor, fx = 0.5, fy = 0.5) {
    const v = state.view, t = v.t0 + (v.t1 - v.t0) * fx, y = v.y0 + (v.y1 - v.y0) * fy;
    look({t0: t - (t - v.t0) * factor, t1: t + (v.t1 - t) * factor, y0: y - (y - v.y0) * factor, y1: y + (v.y1 - y) * factor});
  }
  function pan(dx, dy) {
    const v = state.view, t = (v.t1 - v.t0) * dx, y = (v.y1 - v.y0) * dy;
    look({t0: v.t0 + t, t1: v.t1 + t, y0: v.y0 + y, y1: v.y1 + y});
  }
  const within = event => {
    const place = canvas.getBoundingClientRect(), box = area();
    return [(event.clientX - place.left - box.x) / box.width, 1 - (event.clientY - place.top - box.y) / box.height];
  };
  const rubber = root.querySelector(".rubber");
  canvas.addEventListener("mousedown", event => {
    if (event.button) return;
    const [x, y] = within(event);
    state.drag = {x, y, view: state.view, pan: event.shiftKey, px: event.clientX, py: event.clientY};
    event.preventDefault(); canvas.focus();
  });
  window.addEventListener("mousemove", event => {
    const drag = state.drag;
    if (!drag) { if (event.target === canvas) hover(event); else tip.hidden = true; return; }
    tip.hidden = true;
    const [x, y] = within(event), v = drag.view;
    if (drag.pan) { state.view = v; pan(drag.x - x, drag.y - y); return; }
    const place = canvas.getBoundingClientRect();
    Object.assign(rubber.style, {
      left: `${Math.min(drag.px, event.clientX) - place.left}px`, top: `${Math.min(drag.py, event.clientY) - place.top}px`,
      width: `${Math.abs(event.clientX - drag.px)}px`, height: `${Math.abs(event.clientY - drag.py)}px`,
    });
    rubber.hidden = false;
  });
  window.addEventListener("mouseup", event => {
    const drag = state.drag;
    state.drag = null; rubber.hidden = true;
    if (!drag || drag.pan || Math.abs(event.clientX - drag.px) < 5 || Math.abs(event.clientY - drag.py) < 5) return;
    const [x, y] = within(event).map(n => Math.min(1, Math.max(0, n))), v = drag.view, t = v.t1 - v.t0, h = v.y1 - v.y0;
    const [ax, ay] = [drag.x, drag.y].map(n => Math.min(1, Math.max(0, n)));
    look({t0: v.t0 + t * Math.min(x, ax), t1: v.t0 + t * Math.max(x, ax), y0: v.y0 + h * Math.min(y, ay), y1: v.y0 + h * Math.max(y, ay)});
  });
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    const [x, y] = within(event);
    zoom(event.deltaY > 0 ? 1.25 : 0.8, x, y);
  }, {passive: false});
  canvas.addEventListener("dblclick", () => look({...FULL}));
  canvas.addEventListener("keydown", event => {
    const act = {"+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "0": () => look({...FULL}), Escape: () => look({...FULL}),
      ArrowLeft: () => pan(-0.2, 0), ArrowRight: () => pan(0.2, 0), ArrowUp: () => pan(0, 0.2), ArrowDown: () => pan(0, -0.2)}[event.key];
    if (act && !event.ctrlKey && !event.metaKey && !event.altKey) { act(); event.preventDefault(); }
  });
  root.querySelector(".reset").addEventListener("click", () => look({...FULL}));
  for (const name of ["metric", "scale"])
    root.querySelector(`[name=${name}]`).addEventListener("change", event => { state[name] = event.target.value; state.bounds = null; soon(); });

  async function show(index) {
    state.target = index; state.bounds = null; state.view = {...FULL};
    await unpack(given.targets[index]);
    look({...FULL});
  }
  const choice = root.querySelector("[name=target]");
  given.targets.forEach((target, i) => {
    const option = document.createElement("option");
    option.value = i; option.textContent = target.title;
    choice.append(option);
  });
  choice.parentElement.hidden = given.targets.length < 2;
  choice.addEventListener("change", () => show(+choice.value));
  new ResizeObserver(() => { if (given.targets[state.target].starts) soon(); }).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", soon);
  show(0);
})();

for (const table of document.querySelectorAll("table.sortable"))
  table.querySelectorAll("th").forEach((head, column) => head.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") !== "descending", body = table.tBodies[0];
    const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const order = (a, b) => { const x = key(a), y = key(b), n = x - y; return Number.isNaN(n) ? String(x).localeCompare(y) : n; };
    table.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...[...body.rows].sort((a, b) => (down ? -1 : 1) * order(a, b)));
  }));
