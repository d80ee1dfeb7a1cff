"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { boxes, clusters, edges, events, grads } = data;
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;
  const drawing = $("drawing"), world = $("world"), slider = $("slider");
  const boxAt = boxes.map((_, k) => $("b" + k));
  const clusterAt = clusters.map((_, k) => $("c" + k));
  const edgeAt = edges.map((_, k) => $("e" + k));
  const SVG = "http://www.w3.org/2000/svg";

  const whole = (text) => text.replace(/([μ‖·]) (?=[−\d])/g, "$1\u00a0").replace(/, (?=[−\d])/g, ",\u00a0");  // numbers do not break

  function make(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  // ---- light and dark ------------------------------------------------------------------------------------------

  const darkness = matchMedia("(prefers-color-scheme: dark)");
  let chosen = false;
  function setTheme(dark) {
    root.dataset.theme = dark ? "dark" : "light";
    $("theme").setAttribute("aria-pressed", String(dark));
  }
  setTheme(darkness.matches);
  darkness.addEventListener("change", () => { if (!chosen) setTheme(darkness.matches); });
  $("theme").addEventListener("click", () => { chosen = true; setTheme(root.dataset.theme !== "dark"); });

  // ---- blocks: open and closed ---------------------------------------------------------------------------------
  // Where a block is closed and nothing visible stands, the plane is pressed together: x and y pass through a
  // piecewise linear map each, so rows stay rows and columns stay columns.

  const closed = new Set();
  const maps = { x: (v) => v, y: (v) => v };

  function lidOf(cluster) {  // the outermost closed block around one
    let lid = -1;
    for (let k = cluster; k >= 0; k = clusters[k][4]) if (closed.has(k)) lid = k;
    return lid;
  }

  function pressed(axis) {
    const lids = clusters.map((_, k) => k).filter((k) => lidOf(k) === k);
    if (!lids.length) return (v) => v;
    const low = axis, high = axis + 2;
    const solid = [];
    boxes.forEach((b, k) => {
      if (lidOf(b[6]) < 0 && !b[4 + axis]) solid.push([b[axis] - b[2 + axis] / 2, b[axis] + b[2 + axis] / 2]);
    });
    clusters.forEach((c, k) => {
      if (lidOf(k) < 0 && !lids.some((l) => { for (let m = l; m >= 0; m = clusters[m][4]) if (m === k) return true; return false; }))
        solid.push([c[low], c[high]]);
    });
    const cuts = [...new Set([...solid.flat(), ...lids.flatMap((k) => [clusters[k][low], clusters[k][high]])])].sort((a, b) => a - b);
    const spans = [];
    for (let i = 0; i + 1 < cuts.length; i++) {
      const middle = (cuts[i] + cuts[i + 1]) / 2;
      const over = lids.filter((k) => clusters[k][low] < middle && middle < clusters[k][high]);
      const firm = !over.length || solid.some(([l, h]) => l < middle && middle < h);
      spans.push({ length: cuts[i + 1] - cuts[i], over, firm, share: firm ? 1 : 0 });
    }
    for (const k of lids) {
      const need = axis ? 34 : Math.max(60, clusters[k][7]);
      const mine = spans.filter((s) => s.over.includes(k));
      const firm = mine.reduce((sum, s) => sum + (s.firm ? s.length : 0), 0);
      const soft = mine.reduce((sum, s) => sum + (s.firm ? 0 : s.length), 0);
      const share = soft ? Math.max(0.1, Math.min(1, (need - firm) / soft)) : 0;  // never flat: edges stay apart
      for (const s of mine) if (!s.firm) s.share = Math.max(s.share, share);
    }
    const at = [cuts[0]];
    spans.forEach((s, i) => at.push(at[i] + s.length * s.share));
    const last = cuts.length - 1;
    return (v) => {
      if (v <= cuts[0]) return v;
      if (v >= cuts[last]) return v - cuts[last] + at[last];
      let l = 0, h = last;
      while (h - l > 1) { const m = (l + h) >> 1; if (cuts[m] <= v) l = m; else h = m; }
      return at[l] + (v - cuts[l]) * spans[l].share;
    };
  }

  function along(points) {  // a Bézier path as many points
    const found = [[points[0], points[1]]];
    for (let i = 2; i + 5 < points.length; i += 6) {
      const [x0, y0] = found[found.length - 1];
      const [x1, y1, x2, y2, x3, y3] = points.slice(i, i + 6);
      for (let s = 1; s <= 12; s++) {
        const t = s / 12, u = 1 - t;
        found.push([u * u * u * x0 + 3 * u * u * t * x1 + 3 * u * t * t * x2 + t * t * t * x3,
                    u * u * u * y0 + 3 * u * u * t * y1 + 3 * u * t * t * y2 + t * t * t * y3]);
      }
    }
    return found;
  }

  function outside(points, [l, t, r, b]) {  // without the part at the start that lies inside a rectangle
    const inside = ([x, y]) => x > l && x < r && y > t && y < b;
    let k = 0;
    while (k < points.length && inside(points[k])) k++;
    if (!k || k === points.length) return k ? [] : points;
    let a = points[k - 1], c = points[k];
    for (let i = 0; i < 20; i++) {
      const m = [(a[0] + c[0]) / 2, (a[1] + c[1]) / 2];
      if (inside(m)) a = m; else c = m;
    }
    return [c, ...points.slice(k)];
  }

  function head(tip, from) {
    const dx = tip[0] - from[0], dy = tip[1] - from[1], d = Math.hypot(dx, dy) || 1;
    const ux = dx / d, uy = dy / d, x = tip[0] - 6 * ux, y = tip[1] - 6 * uy;
    return `M${tip[0]} ${tip[1]}L${x - 2.5 * uy} ${y + 2.5 * ux}L${x + 2.5 * uy} ${y - 2.5 * ux}Z`;
  }

  function before(points) {
    const end = points[points.length - 1];
    for (let i = points.length - 2; i >= 0; i--)
      if (Math.abs(points[i][0] - end[0]) + Math.abs(points[i][1] - end[1]) > 0.5) return points[i];
    return points[0];
  }

  function arrange() {
    maps.x = pressed(0);
    maps.y = pressed(1);
    const rect = (k) => { const c = clusters[k]; return [maps.x(c[0]), maps.y(c[1]), maps.x(c[2]), maps.y(c[3])]; };
    clusters.forEach((c, k) => {
      const element = clusterAt[k], lid = lidOf(k), shut = lid === k;
      element.classList.toggle("hidden", lid >= 0 && !shut);
      element.classList.toggle("closed", shut);
      element.setAttribute("aria-expanded", String(!closed.has(k)));
      const [l, t, r, b] = rect(k);
      const shape = element.querySelector("rect"), text = element.querySelector("text");
      shape.setAttribute("x", l); shape.setAttribute("y", t);
      shape.setAttribute("width", Math.max(r - l, 1)); shape.setAttribute("height", Math.max(b - t, 1));
      text.dataset.open ??= text.textContent;
      text.textContent = shut ? c[5] : text.dataset.open;
      const centred = shut || element.classList.contains("step");
      text.setAttribute("x", centred ? (l + r) / 2 : l + 9);
      text.setAttribute("y", shut ? (t + b) / 2 : t + 13);
      text.style.textAnchor = centred ? "middle" : "";
      text.style.fontSize = shut ? "13px" : "";
      let count = element.querySelector(".count");
      if (shut && !count) {
        count = element.appendChild(document.createElementNS(SVG, "text"));
        count.setAttribute("class", "count"); count.setAttribute("font-size", "8.5");
        count.textContent = `${c[6]} ${c[6] === 1 ? "entry" : "entries"}`;
      }
      if (count) {
        count.classList.toggle("hidden", !shut);
        count.setAttribute("x", (l + r) / 2); count.setAttribute("y", (t + b) / 2 + 12);
      }
    });
    boxes.forEach((b, k) => {
      const lid = lidOf(b[6]), element = boxAt[k];
      element.classList.toggle("hidden", lid >= 0);
      if (lid >= 0) return;
      let [x, y, w, h] = b;
      const frame = element.querySelector(".frame");
      if (b[4]) { const l = maps.x(x - w / 2), r = maps.x(x + w / 2); x = (l + r) / 2; w = Math.max(r - l, 34); } else x = maps.x(x);
      if (b[5]) { const t = maps.y(y - h / 2), e = maps.y(y + h / 2); y = (t + e) / 2; h = Math.max(e - t, 26); } else y = maps.y(y);
      element.setAttribute("transform", `translate(${x} ${y})`);
      frame.setAttribute("x", -w / 2); frame.setAttribute("width", w);
      frame.setAttribute("y", -h / 2); frame.setAttribute("height", h);
    });
    edges.forEach(([a, b, points], k) => {
      const from = lidOf(boxes[a][6]), to = lidOf(boxes[b][6]), element = edgeAt[k];
      let moved = points.map((v, i) => (i % 2 ? maps.y(v) : maps.x(v)));
      let d, way;
      if (from >= 0 || to >= 0) {
        way = from >= 0 && from === to ? [] : along(moved);
        if (from >= 0) way = outside(way, rect(from));
        if (to >= 0) way = outside(way.reverse(), rect(to)).reverse();
        d = "M" + way.map((p) => p.join(" ")).join("L");
      } else {
        way = [];
        for (let i = 0; i < moved.length; i += 2) way.push([moved[i], moved[i + 1]]);
        d = `M${moved[0]} ${moved[1]}C${moved.slice(2).join(" ")}`;
      }
      element.classList.toggle("hidden", way.length < 2);
      if (way.length < 2) return;
      element.querySelector(".line").setAttribute("d", d);
      element.querySelector(".head").setAttribute("d", head(way[way.length - 1], before(way)));
      element.querySelector(".tail").setAttribute("d", head(way[0], before([...way].reverse())));
    });
    $("fold-all").textContent = closed.size ? "Open blocks" : "Close blocks";
  }

  function toggle(k) {
    if (closed.has(k)) closed.delete(k); else closed.add(k);
    arrange();
    show();
  }

  $("fold-all").hidden = !clusters.length;
  $("fold-all").addEventListener("click", () => {
    if (closed.size) closed.clear(); else clusters.forEach((c, k) => { if (c[4] < 0) closed.add(k); });
    arrange();
    begin();
    show();
    if (place) follow(events[place - 1].b.slice(0, 1));
  });

  // ---- pan and zoom ----------------------------------------------------------------------------------------------

  const view = { x: 0, y: 0, k: 1 };
  const room = () => { const r = drawing.getBoundingClientRect(); return [r.width, r.height]; };
  function look() { world.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.k})`); }
  const extent = () => [maps.x(0), maps.y(0), maps.x(data.size[0]), maps.y(data.size[1])];

  function fit() {
    const [w, h] = room(), [l, t, r, b] = extent(), margin = 20;
    view.k = Math.min((w - 2 * margin) / (r - l), (h - 2 * margin) / (b - t), 1.6);
    view.x = w / 2 - view.k * (l + r) / 2;
    view.y = h / 2 - view.k * (t + b) / 2;
    look();
  }

  function zoom(factor, x, y) {
    const [w, h] = room();
    x ??= w / 2; y ??= h / 2;
    const k = Math.max(0.05, Math.min(6, view.k * factor));
    view.x = x - (x - view.x) * k / view.k;
    view.y = y - (y - view.y) * k / view.k;
    view.k = k;
    look();
  }

  function begin() {  // all of it where that is legible; else legible, from the start
    fit();
    if (view.k < 0.7) {
      const [w, h] = room(), [l, t, r, b] = extent();
      view.k = Math.max(view.k, Math.min(0.9, (h - 40) / (b - t)), 0.6);
      view.x = 16 - view.k * l;
      view.y = Math.max(12 - view.k * t, h / 2 - view.k * (t + b) / 2);
      look();
    }
  }

  function follow(list) {  // bring what is played now into the view
    if (!list.length) return;
    const [w, h] = room();
    let [l, t, r, b] = [Infinity, Infinity, -Infinity, -Infinity];
    for (const k of list) {
      const lid = lidOf(boxes[k][6]);
      const [x, y] = lid < 0 ? boxes[k] : [(clusters[lid][0] + clusters[lid][2]) / 2, (clusters[lid][1] + clusters[lid][3]) / 2];
      l = Math.min(l, maps.x(x) - boxes[k][2] / 2); r = Math.max(r, maps.x(x) + boxes[k][2] / 2);
      t = Math.min(t, maps.y(y) - boxes[k][3] / 2); b = Math.max(b, maps.y(y) + boxes[k][3] / 2);
    }
    const slide = (from, to, size) => {  // no further than needed, and then a little more, so that it does not move at every step
      if (from >= 12 && to <= size - 12) return 0;
      if (to - from > size - 24) return 12 - from;
      return from < 12 ? Math.min(size * 0.75 - to, size * 0.5 - from) : Math.max(size * 0.25 - from, size * 0.5 - to);
    };
    view.x += slide(view.x + view.k * l, view.x + view.k * r, w);
    view.y += slide(view.y + view.k * t, view.y + view.k * b, h);
    const [L, T, R, B] = extent(), within = (v, low, high) => (low > high ? v : Math.min(high, Math.max(low, v)));
    view.x = within(view.x, w - 16 - view.k * R, 16 - view.k * L);  // nothing is gained by looking beyond the ends
    view.y = within(view.y, h - 16 - view.k * B, 16 - view.k * T);
    look();
  }

  drawing.removeAttribute("viewBox");
  drawing.addEventListener("wheel", (event) => {
    event.preventDefault();
    const r = drawing.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), event.clientX - r.left, event.clientY - r.top);
  }, { passive: false });

  const fingers = new Map();
  let dragged = 0;
  drawing.addEventListener("pointerdown", (event) => {
    if (!fingers.size) dragged = 0;
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  addEventListener("pointermove", (event) => {
    const old = fingers.get(event.pointerId);
    if (!old) return;
    const now = [event.clientX, event.clientY];
    if (fingers.size === 2) {
      const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, p]) => p);
      const r = drawing.getBoundingClientRect();
      const grown = Math.hypot(now[0] - other[0], now[1] - other[1]) / (Math.hypot(old[0] - other[0], old[1] - other[1]) || 1);
      zoom(grown, (now[0] + other[0]) / 2 - r.left, (now[1] + other[1]) / 2 - r.top);
      dragged = 99;
    } else {
      dragged += Math.abs(now[0] - old[0]) + Math.abs(now[1] - old[1]);
      view.x += now[0] - old[0];
      view.y += now[1] - old[1];
      look();
    }
    fingers.set(event.pointerId, now);
  });
  for (const name of ["pointerup", "pointercancel"]) addEventListener(name, (event) => fingers.delete(event.pointerId));
  drawing.addEventListener("mousedown", (event) => event.preventDefault());  // a click leaves the focus where it is
  let clicks = 0;
  drawing.addEventListener("click", (event) => {
    if (dragged > 4) return;
    const hit = event.target.closest(".cluster");
    clearTimeout(clicks);
    if (hit && event.detail < 2) clicks = setTimeout(() => toggle(Number(hit.id.slice(1))), 220);  // or half a double-click
  });
  drawing.addEventListener("dblclick", () => { clearTimeout(clicks); fit(); });
  $("zoom-in").addEventListener("click", () => zoom(1.3));
  $("zoom-out").addEventListener("click", () => zoom(1 / 1.3));
  $("fit").addEventListener("click", fit);

  // ---- the tape ----------------------------------------------------------------------------------------------------

  let place = 0, timer = 0;
  const total = events.length, forward = data.forward;
  const valueAt = new Map(), barAt = new Map();  // box → the event after which it has its value, its bar
  events.forEach((event, k) => {
    for (const b of event.b) {
      if (event.d === "f") valueAt.set(b, k);
      else if (!barAt.has(b)) barAt.set(b, k);
    }
  });
  const usedBy = edges.map(([, b]) => b);

  function show() {
    const event = place ? events[place - 1] : null;
    const now = new Set(event ? event.b : []);
    const lit = new Set(event && event.i ? event.i : []);
    const givers = new Set([...lit].map((k) => edges[k][0]));
    root.classList.remove("f", "s", "b");
    if (event) root.classList.add(event.d);
    const lids = new Set([...now].map((k) => lidOf(boxes[k][6])));
    clusterAt.forEach((element, k) => element.classList.toggle("now", lids.has(k)));
    boxAt.forEach((element, k) => {
      const has = !valueAt.has(k) || valueAt.get(k) < place;
      element.classList.toggle("has-value", has);
      element.classList.toggle("waiting", !has && !now.has(k));
      element.classList.toggle("has-bar", barAt.has(k) && barAt.get(k) < place);
      element.classList.toggle("now", now.has(k));
      element.classList.toggle("giver", givers.has(k));
    });
    edgeAt.forEach((element, k) => {
      const user = usedBy[k];
      element.classList.toggle("waiting", valueAt.has(user) && valueAt.get(user) >= place && !lit.has(k));
      element.classList.toggle("back", barAt.has(user) && barAt.get(user) < place && barAt.has(edges[k][0]));
      element.classList.toggle("now", lit.has(k));
    });
    slider.value = place;
    slider.setAttribute("aria-valuetext", told(event));
    status(event);
    card(event);
    gradients();
    $("first").disabled = $("back").disabled = place === 0;
    $("next").disabled = $("last").disabled = place === total;
  }

  function told(event) {
    if (!event) return `Before the first entry; ${total} steps`;
    if (event.d === "s") return `Step ${place} of ${total}: the backward pass starts`;
    return `${event.d === "f" ? "Forward" : "Backward"}, step ${place} of ${total}: ${event.t}`;
  }

  function status(event) {
    const line = $("status");
    line.replaceChildren();
    if (!event) { line.append(`${total} steps`); return; }
    line.append(make("b", "", event.d === "f" ? "Forward" : "Backward"), ` · step ${place} of ${total}`);
    if (event.e.length) line.append(event.e[0] === event.e[1] ? ` · entry %${event.e[0]}` : ` · entries %${Math.min(...event.e)} to %${Math.max(...event.e)}`);
  }

  function strip(colours) {
    const element = make("span", "strip");
    element.setAttribute("aria-hidden", "true");
    for (const colour of colours) element.appendChild(make("i")).style.background = colour;
    return element;
  }

  function card(event) {
    const box = $("card");
    box.replaceChildren();
    if (!event) {
      box.append(make("h2", "", data.title));
      const help = make("p", "words");
      help.append("The tape is played forward, entry by entry, and then backward. ", make("kbd", "", "→"), " steps on, ", make("kbd", "", "←"), " back, ",
                  make("kbd", "", "space"), " plays. Drag and wheel move the drawing; a click on a block closes it.");
      box.append(help);
      return;
    }
    box.append(make("h2", "", event.t));
    if (event.d === "s") box.append(make("p", "words", "The backward pass starts here: the derivative of the result with respect to itself."));
    if (event.h) box.append(make("p", "words", event.h));
    if (event.s) box.append(make("p", "where", event.s));
    if (event.leaf) box.append(make("p", "words", event.d === "f" ? "A leaf: its value is given." : "A leaf: the sum of all that arrived is its gradient."));
    if (event.f || (event.r || []).length) {
      const formula = make("div", "formula");
      if (event.f) formula.append(make("div", event.d === "f" ? "on" : "", event.f));
      for (const rule of event.r || []) formula.append(make("div", event.d === "b" ? "on" : "", rule));
      box.append(formula);
    }
    if (event.d === "f" && (event.rows || []).length) {
      box.append(make("h3", "", "From"));
      const rows = make("dl", "rows");
      for (const [name, what, value, source] of event.rows) {
        const dd = make("dd", "", whole(value) + "  ");
        dd.append(make("small", "", source));
        rows.append(make("dt", "", name === what ? name : `${name} = ${what}`), dd);
      }
      box.append(rows);
    }
    if ((event.out || []).length) {
      box.append(make("h3", "", event.d === "f" ? (event.t === "given" ? "Leaves" : "Value") : event.leaf ? "Gradient" : "What arrived"));
      const rows = make("dl", "rows out");
      for (const [name, value, shape, colours] of event.out) {
        const dd = make("dd", "", whole(value));
        if (shape) dd.append(" ", make("small", "", shape));
        if (colours.length) dd.append(strip(colours));
        rows.append(make("dt", "", name), dd);
      }
      box.append(rows);
    }
    if (event.d === "b" && (event.rows || []).length) {
      box.append(make("h3", "", "Sent on"));
      const rows = make("dl", "rows");
      for (const [name, to, value, count, sum] of event.rows) {
        const dd = make("dd", "", whole(value));
        if (count) dd.append(make("br"), make("small", "", whole(`${to} has ${count}: ${sum}`)));
        rows.append(make("dt", "", name === to ? name : `${name} → ${to}`), dd);
      }
      box.append(rows);
    }
    if (event.w) box.append(make("p", "tape", event.w));
  }

  function gradients() {
    const list = $("gradients");
    list.replaceChildren();
    if (!grads.length || place <= forward) return;
    list.append(make("h3", "", "Gradients, summand by summand"));
    for (const g of grads) {
      const row = make("div", "weight");
      const arrived = g.ticks.filter((t) => t[0] < place);
      const count = arrived.reduce((sum, t) => sum + t[1], 0);
      const fresh = g.ticks.some((t) => t[0] === place - 1);
      row.classList.toggle("new", fresh);
      row.append(make("span", "count", `${count} of ${g.of}`), make("span", "name", g.bar + (g.via ? ` (through ${g.via})` : "")));
      if (g.of > 1) {
        const ticks = make("div", "ticks");
        ticks.setAttribute("aria-hidden", "true");
        for (const t of g.ticks) {
          const bar = make("i", t[0] < place ? (t[0] === place - 1 ? "in new" : "in") : "");
          bar.style.height = `${Math.max(8, 100 * t[2])}%`;
          ticks.append(bar);
        }
        row.append(ticks);
      }
      row.append(make("div", "sum", arrived.length ? `${count < g.of ? "so far " : ""}${arrived[arrived.length - 1][3]}` : ""));
      list.append(row);
    }
  }

  function go(to) {
    place = Math.max(0, Math.min(total, to));
    show();
    if (place && events[place - 1].b.length === 1) follow(events[place - 1].b);
    if (place === total) pause();
  }

  function pause() {
    clearInterval(timer);
    timer = 0;
    root.classList.remove("playing");
    $("play").setAttribute("aria-label", "Play");
  }

  function play() {
    if (timer) { pause(); return; }
    if (place === total) go(0);
    root.classList.add("playing");
    $("play").setAttribute("aria-label", "Pause");
    timer = setInterval(() => go(place + 1), Number($("speed").value));
  }

  slider.max = total;
  document.querySelector(".track").style.setProperty("--split", total ? `${(100 * forward) / total}%` : "100%");
  if (forward === total) document.querySelector(".ends .backward").hidden = true;
  slider.addEventListener("input", () => { pause(); go(Number(slider.value)); });
  $("first").addEventListener("click", () => { pause(); go(0); });
  $("back").addEventListener("click", () => { pause(); go(place - 1); });
  $("next").addEventListener("click", () => { pause(); go(place + 1); });
  $("last").addEventListener("click", () => { pause(); go(total); });
  $("play").addEventListener("click", play);
  $("speed").addEventListener("change", () => { if (timer) { pause(); play(); } });

  let byKey = false;  // did the focus come to where it is by the keyboard?
  addEventListener("pointerdown", () => { byKey = false; }, true);
  addEventListener("keydown", (event) => {
    if (event.key === "Tab") byKey = true;
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const target = document.activeElement;
    const cluster = target && target.closest ? target.closest(".cluster") : null;
    const native = target && /^(BUTTON|SELECT|A)$/.test(target.tagName);
    const keys = {
      ArrowRight: () => { pause(); go(place + 1); }, ArrowLeft: () => { pause(); go(place - 1); },
      Home: () => { pause(); go(0); }, End: () => { pause(); go(total); },
      "+": () => zoom(1.3), "=": () => zoom(1.3), "-": () => zoom(1 / 1.3), 0: fit,
    };
    if (target && target.tagName === "SELECT") return;
    if (cluster && (event.key === "Enter" || (event.key === " " && byKey))) toggle(Number(cluster.id.slice(1)));
    else if (event.key === " " && !(native && byKey)) play();
    else if (keys[event.key]) keys[event.key]();
    else return;
    event.preventDefault();
  });
  drawing.addEventListener("focusin", (event) => {
    const cluster = event.target.closest(".cluster");
    if (!cluster || !byKey) return;
    const [l, t, r, b] = clusters[Number(cluster.id.slice(1))], [w, h] = room();
    const x = view.x + view.k * maps.x((l + r) / 2), y = view.y + view.k * maps.y((t + b) / 2);
    if (x < 0 || x > w) view.x += w / 2 - x;
    if (y < 0 || y > h) view.y += h / 2 - y;
    look();
  });

  begin();
  show();
})();
