"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const map = JSON.parse(at("map").textContent);
  const plot = at("plot"), tip = at("tip");
  const kind = map.gl ? "scattergl" : "scatter";
  const theme = window.matchMedia("(prefers-color-scheme: dark)");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const make = (tag, text, className) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };
  const point = new Map(map.places.map((place, row) => [place, row]));
  let column = 0, picked = -1, links = [], selected = new Set(), hidden = new Set();
  let mode = window.matchMedia("(hover: hover)").matches ? "lasso" : "";

  const address = (path) => `${path}?token=${encodeURIComponent(map.token)}`;
  const text = (one, row) => {
    const value = one.values[row];
    if (!one.names.length) return value === null ? "" : String(value);
    return value < 0 ? "" : one.names[value];
  };

  // a thumbnail out of the sheet, or from the server where the page has one
  const thumbnail = (row, place) => {
    const sheet = map.sheet;
    if (row >= 0 && sheet) {
      const image = make("span", undefined, sheet.crisp ? "thumb crisp" : "thumb");
      const x = sheet.columns > 1 ? (row % sheet.columns) / (sheet.columns - 1) : 0;
      const y = sheet.rows > 1 ? Math.floor(row / sheet.columns) / (sheet.rows - 1) : 0;
      image.style.backgroundImage = `url("${sheet.uri}")`;
      image.style.backgroundSize = `${100 * sheet.columns}% ${100 * sheet.rows}%`;
      image.style.backgroundPosition = `${100 * x}% ${100 * y}%`;
      return image;
    }
    if (!map.token) return null;
    const image = make("img", undefined, "thumb");
    image.alt = "";
    image.loading = "lazy";
    image.src = address(`picture/${place}`);
    return image;
  };

  // the traces: one a category, so that a click on its name hides it
  const groups = () => {
    const one = map.columns[column];
    const rows = map.ids.map((_, row) => row);
    if (!one || !one.names.length) return [{ name: "", rows }];
    const counts = new Array(one.names.length).fill(0);
    let unknown = 0;
    for (const value of one.values) { if (value < 0) unknown += 1; else counts[value] += 1; }
    let shown = counts.map((_, code) => code).filter((code) => counts[code]);
    if (shown.length > 20) {
      shown = shown.sort((a, b) => counts[b] - counts[a]).slice(0, 9).sort((a, b) => a - b);
    }
    const known = new Set(shown);
    const list = shown.map((code, i) => ({
      name: one.names[code], colour: `--class-${i % 10}`, symbol: i < 10 ? "circle" : "diamond",
      rows: rows.filter((row) => one.values[row] === code),
    }));
    const rest = rows.filter((row) => one.values[row] >= 0 && !known.has(one.values[row]));
    if (rest.length) list.push({ name: "other", colour: "--other-names", symbol: "circle", rows: rest });
    if (unknown) {
      list.push({ name: "unknown", colour: "--line", symbol: "circle", rows: rows.filter((row) => one.values[row] < 0) });
    }
    return list;
  };
  const trace = (group) => {
    const one = map.columns[column];
    const numbers = one && !one.names.length;
    const marker = { size: map.gl ? 5 : 7, opacity: 0.85, symbol: group.symbol || "circle" };
    if (numbers) {
      marker.color = group.rows.map((row) => one.values[row]);
      marker.colorscale = "Viridis";
      marker.colorbar = { thickness: 10, outlinewidth: 0 };
    } else marker.color = colour(group.colour || "--run-0");
    return {
      type: kind, mode: "markers", name: group.name, hoverinfo: "none", marker,
      x: group.rows.map((row) => map.x[row]), y: group.rows.map((row) => map.y[row]),
      customdata: group.rows, visible: !hidden.has(group.name),
      selectedpoints: selected.size ? group.rows.flatMap((row, i) => (selected.has(row) ? [i] : [])) : null,
      selected: { marker: { opacity: 1 } }, unselected: { marker: { opacity: 0.12 } },
    };
  };
  const overlay = () => {
    if (picked < 0 && !links.length) return [];
    const x = [], y = [];
    for (const row of links) {
      if (picked >= 0) { x.push(map.x[picked], map.x[row], null); y.push(map.y[picked], map.y[row], null); }
    }
    const ends = picked < 0 ? links : [picked, ...links];
    return [
      { type: kind, mode: "lines", x, y, hoverinfo: "skip", line: { color: colour("--muted"), width: 1 } },
      {
        type: kind, mode: "markers", hoverinfo: "skip",
        x: ends.map((row) => map.x[row]), y: ends.map((row) => map.y[row]),
        marker: {
          size: ends.map((row) => (row === picked ? 17 : 12)), color: "rgba(0,0,0,0)",
          line: { width: 2, color: ends.map((row) => (row === picked ? colour("--bad") : colour("--ink"))) },
        },
      },
    ];
  };
  const draw = () => {
    const list = groups();
    const bare = { visible: false, zeroline: false };
    Plotly.react(plot, [...list.map(trace), ...overlay()], {
      width: plot.clientWidth, height: plot.clientHeight, showlegend: false, hovermode: "closest",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", uirevision: "map",
      font: { family: "system-ui, sans-serif", size: 12, color: colour("--muted") },
      margin: { l: 6, r: 6, t: 6, b: 6 }, dragmode: mode || false, selections: [],
      xaxis: bare, yaxis: { ...bare, scaleanchor: "x" },
    }, { displaylogo: false, displayModeBar: false, scrollZoom: true, doubleClick: "reset" });
    const legend = at("legend");
    legend.replaceChildren();
    if (list.length < 2 && !list[0].name) return;
    for (const group of list) {
      const button = make("button");
      button.type = "button";
      const dot = make("span", undefined, "dot");
      dot.style.background = `var(${group.colour})`;
      if (group.symbol !== "circle") { dot.style.borderRadius = "2px"; dot.style.transform = "rotate(45deg)"; }
      button.append(dot, `${group.name} (${group.rows.length.toLocaleString("en")})`);
      button.setAttribute("aria-pressed", String(!hidden.has(group.name)));
      button.addEventListener("click", () => {
        if (hidden.has(group.name)) hidden.delete(group.name); else hidden.add(group.name);
        draw();
      });
      const item = make("li");
      item.append(button);
      legend.append(item);
    }
  };

  const picture = (row, place, id, words) => {
    const item = make("li"), button = make("button");
    button.type = "button";
    button.title = id;
    const image = thumbnail(row, place);
    if (image) button.append(image);
    if (words) button.append(make("small", words));
    if (!image || !words) button.append(make("small", id));
    if (row >= 0) button.addEventListener("click", () => pick(row));
    item.append(button);
    return item;
  };
  const described = (row) => {
    const list = make("dl");
    list.append(make("dt", "row id"), make("dd", map.ids[row]));
    for (const one of map.columns) {
      const value = text(one, row);
      if (value) list.append(make("dt", one.name), make("dd", value));
    }
    return list;
  };
  const pick = (row) => {
    picked = row;
    const near = map.neighbours.slice(row * map.k, (row + 1) * map.k);
    const cosines = map.cosines.slice(row * map.k, (row + 1) * map.k);
    links = near.filter((other) => other >= 0);
    const large = make("div", undefined, "large");
    const image = thumbnail(row, map.places[row]);
    if (map.token) {
      const whole = make("img", undefined, "thumb");
      whole.alt = map.ids[row];
      whole.src = address(`image/${map.places[row]}`);
      whole.addEventListener("error", () => image && whole.replaceWith(image));
      large.append(whole);
    } else if (image) large.append(image);
    large.append(described(row));
    const list = make("ul", undefined, "pictures");
    list.id = "neighbours";
    near.forEach((other, i) => {
      if (other >= 0) list.append(picture(other, map.places[other], map.ids[other], (cosines[i] / 1000).toFixed(3)));
    });
    at("picked").replaceChildren(large, make("h2", "Most similar, with the cosine"), list);
    draw();
  };
  const select = (rows) => {
    selected = new Set(rows);
    at("selection").hidden = !selected.size;
    at("count").textContent = `${selected.size.toLocaleString("en")} selected`;
    const first = [...selected].slice(0, 60);
    at("selected").replaceChildren(...first.map((row) => picture(row, map.places[row], map.ids[row], "")));
    draw();
  };

  const cell = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  at("export").addEventListener("click", () => {
    const lines = [["row_id", ...map.columns.map((one) => one.name)].map(cell).join(",")];
    for (const row of [...selected].sort((a, b) => a - b)) {
      lines.push([map.ids[row], ...map.columns.map((one) => text(one, row))].map(cell).join(","));
    }
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }));
    link.download = "selected.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  at("clear").addEventListener("click", () => { at("find").value = ""; select([]); });

  const find = at("find");
  let waiting = 0;
  const search = () => {
    const words = find.value.trim().toLowerCase();
    if (!words) { select([]); return; }
    select(map.ids.flatMap((id, row) => {
      const hit = id.toLowerCase().includes(words)
        || map.columns.some((one) => one.names.length && text(one, row).toLowerCase().includes(words));
      return hit ? [row] : [];
    }));
  };
  find.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(search, 200); });
  at("controls").addEventListener("submit", (event) => { event.preventDefault(); search(); });

  const upload = at("upload");
  if (upload) {
    upload.addEventListener("change", async () => {
      const file = upload.files[0];
      if (!file) return;
      at("picked").replaceChildren(make("p", `Searching for images like ${file.name}…`, "hint"));
      const answer = await fetch(address("search"), {
        method: "POST", body: file, headers: { "X-File-Name": encodeURIComponent(file.name) },
      }).then((reply) => reply.json()).catch(() => ({ error: "The server does not answer; is it still running?" }));
      upload.value = "";
      if (answer.error) { at("picked").replaceChildren(make("p", answer.error, "hint")); return; }
      const list = make("ul", undefined, "pictures");
      list.id = "neighbours";
      picked = -1;
      links = [];
      for (const one of answer.neighbours) {
        const row = point.get(one.place) ?? -1;
        if (row >= 0) links.push(row);
        list.append(picture(row, one.place, one.row_id, one.cosine.toFixed(3)));
      }
      const large = make("div", undefined, "large"), shown = make("img", undefined, "thumb");
      shown.alt = file.name;
      shown.src = URL.createObjectURL(file);
      shown.addEventListener("error", () => shown.remove());  // a format that the browser does not show
      large.append(shown, make("p", file.name));
      if (answer.novel) large.append(make("p", "Unlike anything indexed: it is further from its nearest image, or its representation is longer or shorter, than 99 % of the indexed images.", "hint"));
      at("picked").replaceChildren(large, make("h2", "Most similar, with the cosine"), list);
      draw();
    });
  }

  const choice = at("colour");
  if (choice) choice.addEventListener("change", () => { column = Number(choice.value); hidden.clear(); draw(); });
  const modes = [...document.querySelectorAll("[data-mode]")];
  const change = (wish) => {
    mode = wish;
    modes.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.mode === mode)));
    draw();
  };
  modes.forEach((button) => button.addEventListener("click", () => {
    change(button.dataset.mode === mode && !window.matchMedia("(hover: hover)").matches ? "" : button.dataset.mode);
  }));
  at("whole").addEventListener("click", () => Plotly.relayout(plot, { "xaxis.autorange": true, "yaxis.autorange": true }));

  change(mode);
  plot.on("plotly_click", (event) => {
    const hit = event.points.find((one) => one.customdata !== undefined);
    if (hit) pick(hit.customdata);
  });
  plot.on("plotly_selected", (event) => {
    if (!event || !event.points) return;
    const rows = event.points.map((one) => one.customdata).filter((row) => row !== undefined);
    if (rows.length) { find.value = ""; select(rows); }
  });
  plot.on("plotly_deselect", () => { find.value = ""; select([]); });
  plot.on("plotly_hover", (event) => {
    const row = event.points[0].customdata;
    if (row === undefined) return;
    tip.replaceChildren();
    const image = thumbnail(row, map.places[row]);
    if (image) tip.append(image);
    const one = map.columns[column];
    if (one && text(one, row)) tip.append(make("div", text(one, row)));
    tip.append(make("small", map.ids[row]));
    tip.hidden = false;
    const size = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.event.clientX + 16, innerWidth - size.width - 8))}px`;
    tip.style.top = `${Math.max(4, Math.min(event.event.clientY + 16, innerHeight - size.height - 8))}px`;
  });
  plot.on("plotly_unhover", () => { tip.hidden = true; });
  window.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
  theme.addEventListener("change", draw);
  new ResizeObserver(() => {
    if (plot.clientWidth && (plot.clientWidth !== plot.layout.width || plot.clientHeight !== plot.layout.height)) draw();
  }).observe(plot);
  document.body.dataset.ready = "yes";
})();
