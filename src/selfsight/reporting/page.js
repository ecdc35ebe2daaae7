"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const figures = read("figures");
  const theme = window.matchMedia("(prefers-color-scheme: dark)");

  // "var(--name)" -> the colour of the reader's theme, everywhere in a figure
  const coloured = (part, style) => {
    if (typeof part === "string") {
      const found = part.match(/^var\((--[a-z0-9-]+)\)$/);
      return found ? style.getPropertyValue(found[1]).trim() : part;
    }
    if (Array.isArray(part)) return part.map((item) => coloured(item, style));
    if (part && typeof part === "object") {
      return Object.fromEntries(Object.entries(part).map(([k, v]) => [k, coloured(v, style)]));
    }
    return part;
  };
  const draw = (place) => {
    const figure = coloured(figures[place.dataset.figure], getComputedStyle(document.documentElement));
    const zoom = figure.layout.dragmode === "zoom" && window.matchMedia("(hover: hover)").matches;
    if (figure.layout.dragmode === "zoom") {
      figure.layout.height = Math.min(560, Math.max(300, place.clientWidth));
      place.style.minHeight = `${figure.layout.height}px`;
    }
    if (!zoom) figure.layout.dragmode = false;
    figure.layout.width = place.clientWidth;
    Plotly.react(place, figure.data, figure.layout, {
      displaylogo: false, displayModeBar: zoom ? "hover" : false,
      modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
    });
    place.dataset.drawn = "yes";
  };
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting && !entry.target.dataset.drawn) {
        draw(entry.target);
        if (entry.target.dataset.map) connect(entry.target);
      }
    }
  }, { rootMargin: "600px" });
  const places = [...document.querySelectorAll(".plot[data-figure]")];
  places.forEach((place) => near.observe(place));
  // a chart follows the width of its card, whatever changes it: the window, a turned phone, print
  const wide = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.dataset.drawn && target.clientWidth && target.clientWidth !== target.layout.width) draw(target);
    }
  });
  places.forEach((place) => wide.observe(place));
  theme.addEventListener("change", () => {
    places.filter((place) => place.dataset.drawn).forEach(draw);
  });
  window.addEventListener("beforeprint", () => {
    places.filter((place) => !place.dataset.drawn && place.offsetParent).forEach(draw);
  });

  for (const choice of document.querySelectorAll("select[data-shows]")) {
    const show = () => {
      for (const part of document.querySelectorAll(`[data-part="${choice.dataset.shows}"]`)) {
        part.hidden = part.dataset.value !== choice.value;
      }
    };
    choice.addEventListener("change", show);
    show();
  }

  // the map: what is known of a point, with its thumbnail out of the sheet
  const tip = document.getElementById("tip");
  const connect = (place) => {
    const map = read(place.dataset.map);
    place.on("plotly_hover", (event) => {
      const row = event.points[0].customdata;
      tip.replaceChildren();
      const sheet = map.sheet;
      if (sheet) {
        const image = document.createElement("div");
        const wide = 112 * Math.min(1, sheet.width / sheet.height);
        const high = wide * sheet.height / sheet.width;
        image.className = sheet.crisp ? "sprite crisp" : "sprite";
        image.style.width = `${wide}px`;
        image.style.height = `${high}px`;
        image.style.backgroundImage = `url("${sheet.uri}")`;
        image.style.backgroundSize = `${wide * sheet.columns}px ${high * sheet.rows}px`;
        image.style.backgroundPosition =
          `-${wide * (row % sheet.columns)}px -${high * Math.floor(row / sheet.columns)}px`;
        tip.append(image);
      }
      for (const [column, kind] of [["target", "div"], ["row_ids", "small"], ["splits", "small"]]) {
        if (map[column]) {
          const line = document.createElement(kind);
          line.textContent = map[column][row];
          tip.append(line);
        }
      }
      tip.hidden = false;
      const at = event.event;
      const size = tip.getBoundingClientRect();
      tip.style.left = `${Math.max(4, Math.min(at.clientX + 16, innerWidth - size.width - 8))}px`;
      tip.style.top = `${Math.max(4, Math.min(at.clientY + 16, innerHeight - size.height - 8))}px`;
    });
    place.on("plotly_unhover", () => { tip.hidden = true; });
  };
  window.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
  for (const button of document.querySelectorAll("button[data-trace]")) {
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(shown));
      Plotly.restyle(document.getElementById(button.dataset.of), { visible: shown }, [Number(button.dataset.trace)]);
    });
  }
})();
