"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { nodes, edges, steps, samples } = data;
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "class") element.className = value;
      else element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  };
  const draw = (tag, attributes = {}) => {
    const element = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const short = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);

  // The step at which a node's gradient is sent on; of a leaf, the step at which its last part arrives.
  const stepOf = new Array(nodes.length).fill(0);
  steps.forEach((step, i) => {
    stepOf[step.node] = i;
    for (const s of step.sends) if (nodes[s.to].kind === "leaf") stepOf[s.to] = i;
  });

  // --- what shows a node: elements in the picture and in both lists ---
  let showing = nodes.map(() => []);
  const listed = nodes.map(() => []);
  const touch = (ids, on) => {
    for (const id of ids) for (const e of [...showing[id], ...listed[id]]) e.classList.toggle("touched", on);
  };
  const touchable = (element, ids) => {
    for (const [name, on] of [["pointerenter", true], ["pointerleave", false], ["focus", true], ["blur", false]])
      element.addEventListener(name, () => touch(ids, on));
  };
  const list = (id, lines) => {
    const ol = $(id).querySelector("ol");
    for (const line of lines) {
      const item = make("li");
      if (line.nodes.length) {
        const main = line.main ?? line.nodes[0];
        const button = make("button", { class: "code" }, line.text);
        button.addEventListener("click", () => go(stepOf[main]));
        touchable(button, line.nodes);
        for (const node of line.nodes) listed[node].push(button);
        item.append(button);
      } else item.append(make("span", {}, line.text));
      ol.append(item);
    }
  };

  // --- the picture: layers from the leaves down, each node under the middle of what it is computed from ---
  const depth = (path) => (path.match(/^\w+|\.\w+|\[[^\[\]]*\]/g) || []);
  let level = 0;
  const picture = () => {
    showing = nodes.map(() => []);
    const boxes = [], boxOf = new Array(nodes.length), groups = new Map();
    nodes.forEach((node, id) => {
      const path = depth(node.module);
      const key = level && path.length ? path.slice(0, level).join("") : "";
      if (key && node.kind !== "output") {
        if (!groups.has(key)) { groups.set(key, boxes.length); boxes.push({ ids: [], group: key }); }
        boxOf[id] = groups.get(key);
        boxes[boxOf[id]].ids.push(id);
      } else { boxOf[id] = boxes.length; boxes.push({ ids: [id] }); }
    });
    const order = boxes.map((b) => Math.max(...b.ids.map((id) => (nodes[id].kind === "leaf" ? -1 : id))));
    const links = [...new Set(edges.map(([a, b]) => boxOf[a] + "," + boxOf[b]))].map((t) => t.split(",").map(Number))
      .filter(([a, b]) => a !== b);
    const into = boxes.map(() => []), from = boxes.map(() => []);
    for (const [a, b] of links) if (order[a] < order[b]) { into[b].push(a); from[a].push(b); }
    const layer = boxes.map(() => 0), byOrder = boxes.map((_, i) => i).sort((a, b) => order[a] - order[b]);
    for (const b of byOrder) for (const a of into[b]) layer[b] = Math.max(layer[b], layer[a] + 1);
    for (const b of byOrder) if (!into[b].length && from[b].length)
      layer[b] = Math.min(...from[b].map((c) => layer[c])) - 1;
    const rows = [];
    for (const b of byOrder) (rows[layer[b]] ||= []).push(b);
    boxes.forEach((box) => {
      const node = nodes[box.ids[0]];
      box.head = box.group ?? node.name;
      box.foot = box.group ? box.ids.length + " tensors" : (node.kind === "leaf" ? "" : node.op + " ") + node.shape;
      box.width = 14 + Math.max(7.3 * Math.min(box.head.length, 26), 6.4 * Math.min(box.foot.length, 30));
      box.x = 0;
    });
    const spread = (row, want) => {
      row.sort((a, b) => want[a] - want[b]);
      let at = -Infinity;
      for (const b of row) { boxes[b].x = Math.max(want[b], at + boxes[b].width / 2); at = boxes[b].x + boxes[b].width / 2 + 14; }
      const shift = row.reduce((sum, b) => sum + want[b] - boxes[b].x, 0) / row.length;
      for (const b of row) boxes[b].x += shift;
    };
    const middle = (some, own) => (some.length ? some.reduce((sum, b) => sum + boxes[b].x, 0) / some.length : own);
    for (let sweep = 0; sweep < 6; sweep++) {
      const sorted = sweep % 2 ? [...rows].reverse() : rows;
      for (const row of sorted) if (row) {
        const want = {};
        for (const b of row) want[b] = middle(sweep % 2 ? from[b] : into[b].length ? into[b] : from[b], boxes[b].x);
        spread(row, want);
      }
    }
    const left = Math.min(...boxes.map((b) => b.x - b.width / 2)) - 10;
    const width = Math.max(...boxes.map((b) => b.x + b.width / 2)) - left + 10, height = rows.length * 66 + 10;
    const svg = draw("svg", { width, height, role: "group", "aria-label": "The tape as a graph" });
    boxes.forEach((b, i) => { b.x -= left; b.y = layer[i] * 66 + 8; });
    for (const [a, b] of links) {
      const p = boxes[a], q = boxes[b], y1 = p.y + 40, y2 = q.y, bend = Math.max(14, (y2 - y1) / 2);
      const path = draw("path", { d: `M${p.x},${y1} C${p.x},${y1 + bend} ${q.x},${y2 - bend} ${q.x},${y2}` });
      path.from = boxes[b].ids; path.to = boxes[a].ids;
      svg.append(path);
    }
    boxes.forEach((box) => {
      const node = nodes[box.ids[0]];
      const g = draw("g", { class: "node " + (box.group ? "group" : node.kind), tabindex: "0", role: "button",
        transform: `translate(${box.x - box.width / 2},${box.y})` });
      g.append(draw("rect", { width: box.width, height: 40, rx: node.kind === "leaf" && !box.group ? 0 : 7 }));
      for (const [text, y, name] of [[short(box.head, 26), 17, ""], [short(box.foot, 30), 32, "small"]]) {
        const line = draw("text", { x: box.width / 2, y, "text-anchor": "middle", class: name });
        line.textContent = text;
        g.append(line, " "); // the button's name for screen readers is what stands in it
      }
      const main = box.ids.reduce((a, b) => (stepOf[a] <= stepOf[b] ? a : b));
      g.addEventListener("click", () => go(stepOf[main]));
      g.addEventListener("keydown", (e) => { if (e.key === "Enter") go(stepOf[main]); });
      touchable(g, box.ids);
      for (const id of box.ids) showing[id].push(g);
      svg.append(g);
    });
    $("picture").querySelector("svg")?.remove();
    $("picture").append(svg);
  };

  // --- heat maps ---
  const text = (v) => (typeof v === "string" ? v : v === 0 ? "0" : Number(v.toPrecision(3)).toString());
  const heat = (title, number) => {
    const s = samples[number];
    const box = make("div", { class: "heat", tabindex: "0", role: "group", "aria-label": title, "data-sample": number });
    const table = make("table");
    table.append(make("caption", {}, `${title}  (${s.shape.join(", ")}${s.shape.length === 1 ? "," : ""})${s.note ? "; " + s.note : ""}`));
    if (s.values.length > 1 || s.columns.length > 1) {
      const head = make("tr", {}, make("td", { style: "border: 0" }));
      for (const c of s.columns) head.append(make("th", { scope: "col" }, String(c)));
      table.append(head);
    }
    s.values.forEach((row, i) => {
      const tr = make("tr");
      if (s.values.length > 1 || s.columns.length > 1) tr.append(make("th", { scope: "row" }, String(s.rows[i])));
      for (const v of row) {
        const td = make("td", { title: String(v) }, text(v));
        const strength = typeof v === "number" && s.largest ? Math.min(1, Math.abs(v) / s.largest) : 0;
        td.style.backgroundColor = `rgba(var(--${v < 0 ? "minus" : "plus"}), ${(0.42 * Math.sqrt(strength)).toFixed(3)})`;
        tr.append(td);
      }
      table.append(tr);
    });
    box.append(table);
    return box;
  };

  // --- the steps ---
  let now = 0, timer = null;
  const show = () => {
    const step = steps[now], node = nodes[step.node], sent = step.sends.map((s) => s.to);
    $("slider").value = now;
    $("slider").setAttribute("aria-valuetext", `step ${now + 1} of ${steps.length}: ${node.name}`);
    $("count").textContent = `step ${now + 1} of ${steps.length}`;
    $("step-head").textContent = `Step ${now + 1}: back through ${node.name}, ${node.op}, ${node.shape}`;
    const said = $("said"), maps = $("maps");
    said.replaceChildren();
    const line = data.forward.find((l) => l.nodes.includes(step.node));
    if (line) said.append(make("code", { class: "formula code" }, line.text));
    for (const reason of step.reasons) said.append(make("p", {}, reason + "."));
    said.append(make("p", { class: "facts" }, `d${node.name} ${node.shape} is complete, and goes to ` +
      (sent.map((id) => `d${nodes[id].name} ${nodes[id].shape}`).join(", ") || "nothing") + "."));
    maps.replaceChildren(heat(`${node.name}, the value`, node.value), heat(`d${node.name}, the incoming gradient (g)`, node.grad));
    step.sends.forEach((s, k) => {
      const to = nodes[s.to];
      const part = make("div", { class: "part" }, make("h3", {}, `to ${to.name}, as ${s.argument}`));
      part.style.animationDelay = `${0.35 * k}s`;
      if (s.formula) part.append(make("code", { class: "formula code" }, s.formula));
      part.append(heat(`the part for ${to.name}`, s.part));
      if (s.sent !== s.part) part.append(heat(`what is sent on to d${to.name}`, s.sent));
      if (s.of > 1) part.append(heat(`d${to.name} so far, with part ${s.number} of ${s.of}`, s.total));
      maps.append(part);
    });
    for (const element of document.querySelectorAll(".now")) element.classList.remove("now");
    for (const e of showing[step.node]) e.classList.add("now");
    for (const e of [...(listed[step.node] || [])]) if ($("forward").contains(e)) e.classList.add("now");
    for (const id of sent) for (const e of listed[id]) if ($("backward").contains(e)) e.classList.add("now");
    for (const path of document.querySelectorAll("svg path"))
      path.classList.toggle("now", path.from.includes(step.node) && path.to.some((id) => sent.includes(id)));
    const done = new Set(steps.slice(0, now).map((s) => s.node));
    nodes.forEach((_, id) => showing[id].forEach((e) => e.classList.toggle("done", done.has(id))));
    for (const [panel, element] of [["picture", showing[step.node][0]], ["forward", $("forward").querySelector(".now")],
      ["backward", $("backward").querySelector(".now")]]) if (element) {
      const box = $(panel).getBoundingClientRect(), at = element.getBoundingClientRect();
      $(panel).scrollTop += at.top - box.top - box.height / 2 + at.height / 2;
      if (panel === "picture") $(panel).scrollLeft += at.left - box.left - box.width / 2 + at.width / 2;
    }
    $("detail").scrollTop = 0;
  };
  const go = (step, keep = false) => {
    if (!keep) pause();
    now = Math.max(0, Math.min(steps.length - 1, step));
    show();
    try { history.replaceState(null, "", "#step-" + (now + 1)); } catch { /* inside a frame there may be no address */ }
  };
  const pause = () => {
    clearInterval(timer);
    timer = null;
    $("play").textContent = "Play";
    $("play").setAttribute("aria-pressed", "false");
  };
  const play = () => {
    if (timer !== null) return pause();
    if (now === steps.length - 1) go(0);
    $("play").textContent = "Pause";
    $("play").setAttribute("aria-pressed", "true");
    timer = setInterval(() => { if (now === steps.length - 1) pause(); else go(now + 1, true); }, 1600);
  };
  const theme = (dark) => {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    $("theme").textContent = dark ? "Light" : "Dark";
  };
  const follow = () => {
    const match = /^#step-(\d+)$/.exec(location.hash);
    if (match) go(Number(match[1]) - 1); else go(0);
  };

  $("title").textContent = data.title;
  $("slider").max = steps.length - 1;
  const actions = { first: () => go(0), back: () => go(now - 1), play, next: () => go(now + 1), last: () => go(steps.length - 1) };
  for (const [id, action] of Object.entries(actions)) $(id).addEventListener("click", action);
  $("slider").addEventListener("input", () => go(Number($("slider").value)));
  $("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme !== "dark"));
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.target.matches("select")) return;
    if (e.key === " " && e.target.matches("button, [role=button]")) return;
    const keys = { ArrowRight: "next", ArrowLeft: "back", Home: "first", End: "last", " ": "play" };
    if (keys[e.key] && !(e.target.matches("input") && e.key !== " ")) { e.preventDefault(); actions[keys[e.key]](); }
  });
  const deepest = Math.max(0, ...nodes.map((n) => depth(n.module).length));
  if (deepest) {
    $("folding").hidden = false;
    $("fold").append(make("option", { value: 0 }, "open"));
    for (let k = 1; k <= deepest; k++) $("fold").append(make("option", { value: k }, `folded at level ${k}`));
    $("fold").addEventListener("change", () => { level = Number($("fold").value); picture(); show(); });
  }
  list("forward", data.forward);
  list("backward", data.backward);
  picture();
  const dark = matchMedia("(prefers-color-scheme: dark)");
  theme(dark.matches);
  dark.addEventListener("change", () => theme(dark.matches));
  addEventListener("hashchange", follow);
  follow();
})();
