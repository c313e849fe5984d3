"use strict";
(() => {
  const page = document.documentElement.classList;
  page.remove("js-off"); // until here the static pictures stand in for the figures
  const night = window.matchMedia("(prefers-color-scheme: dark)");
  const swap = JSON.parse(document.getElementById("dark").textContent);
  const slim = window.matchMedia("(max-width: 760px)");
  const known = new Map();

  // Ink and paper change places in the dark: their colours are replaced wherever they stand in the figure's data.
  const tinted = (data) => {
    let text = JSON.stringify(data);
    if (night.matches) for (const [light, dark] of Object.entries(swap)) text = text.replaceAll(`"${light}"`, `"${dark}"`);
    return JSON.parse(text);
  };

  const draw = async (place, figure) => {
    await (window.Plotly || withPlotly()); // the viewer loads it as a file
    const { data, layout, narrow, config } = tinted(figure);
    return Plotly.react(place, data, slim.matches && narrow ? narrow : layout, config);
  };

  // What cannot be drawn stays what it was: pictures.
  const failed = (error) => {
    page.add("js-off");
    document.querySelector(".unable").textContent = `The figures below are pictures: this browser could not draw interactive ones (${error.message}).`;
  };

  // For a page that draws more, or the same again with other data.
  window.thalweg = {
    draw: (place, figure) => {
      known.set(place, figure);
      return draw(place, figure);
    },
  };

  const open = (box, detail) => {
    box.textContent = "";
    const heading = document.createElement("h3");
    heading.textContent = detail.title;
    const list = document.createElement("dl");
    for (const [name, value] of detail.facts) {
      const term = document.createElement("dt");
      const words = document.createElement("dd");
      term.textContent = name;
      words.textContent = value;
      list.append(term, words);
    }
    box.append(heading, list);
    if (detail.figure) {
      const place = document.createElement("div");
      box.append(place);
      window.thalweg.draw(place, detail.figure);
    }
  };

  const stores = new Map(); // the figures of an article are packed together, since they have much in common
  const kept = (place) => {
    const name = place.dataset.store;
    if (!stores.has(name)) stores.set(name, JSON.parse(unpacked(document.getElementById(name))));
    return stores.get(name)[place.dataset.figure];
  };

  const begin = async (place) => {
    const { figure, details } = kept(place);
    await window.thalweg.draw(place, figure);
    const box = place.closest("figure").querySelector(".detail");
    if (!box) return;
    place.on("plotly_click", (event) => {
      const key = event.points[0].customdata;
      if (typeof key === "string" && Object.hasOwn(details, key)) open(box, details[key]);
    });
  };

  // Figures are drawn shortly before they come into view: a browser has few 3-D contexts, and a page opens at once.
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watcher.unobserve(entry.target);
      begin(entry.target).catch(failed);
    }
  }, { rootMargin: "800px 0px" });
  for (const place of document.querySelectorAll(".plot[data-figure]")) watcher.observe(place);

  for (const query of [night, slim]) {
    query.addEventListener("change", () => {
      for (const [place, figure] of known) if (place.isConnected) draw(place, figure);
    });
  }

  // On paper nothing can be unfolded; a document of many runs leaves out what only repeats one of them.
  const folded = () => document.querySelectorAll("details:not([open], .stay)");
  let unfolded = [];
  window.addEventListener("beforeprint", () => {
    unfolded = [...folded()];
    for (const details of unfolded) details.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const details of unfolded) details.open = false;
  });

  // A row whose first cell names a detail of a figure in the same article opens it too.
  for (const article of document.querySelectorAll("article")) {
    const details = new Map();
    for (const place of article.querySelectorAll(".plot")) {
      if (!place.closest("figure").querySelector(".detail")) continue;
      for (const [key, detail] of Object.entries(kept(place).details)) details.set(key, detail);
    }
    for (const table of details.size ? article.querySelectorAll("table.sortable") : []) {
      let box = null;
      for (const row of table.tBodies[0].rows) {
        const key = row.cells[0].textContent;
        if (!details.has(key)) continue;
        if (!box) {
          box = document.createElement("div");
          box.className = "detail";
          box.setAttribute("aria-live", "polite");
          table.parentElement.after(box);
        }
        const button = document.createElement("button");
        button.type = "button";
        button.className = "open";
        button.textContent = key;
        button.addEventListener("click", () => {
          open(box, details.get(key));
          box.scrollIntoView({ block: "nearest" });
        });
        row.cells[0].replaceChildren(button);
      }
    }
  }

  const value = (row, column) => row.cells[column].dataset.order;
  const compare = (a, b) => {
    if (a === "" || b === "") return a === b ? 0 : a === "" ? 1 : -1; // what is missing comes last
    const [x, y] = [Number(a), Number(b)];
    const [p, q] = [a.endsWith("inf") ? (a[0] === "-" ? -Infinity : Infinity) : x, b.endsWith("inf") ? (b[0] === "-" ? -Infinity : Infinity) : y];
    return Number.isNaN(p) || Number.isNaN(q) ? a.localeCompare(b, undefined, { numeric: true }) : p - q || 0;
  };
  for (const button of document.querySelectorAll("table.sortable th button")) {
    button.addEventListener("click", () => {
      const head = button.parentElement;
      const column = head.cellIndex;
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of head.parentElement.cells) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = head.closest("table").tBodies[0];
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [value(a, column), value(b, column)];
        const order = compare(x, y);
        return down && x !== "" && y !== "" ? -order : order;
      });
      body.append(...rows);
    });
  }
})();
