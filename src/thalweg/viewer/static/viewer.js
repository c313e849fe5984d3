"use strict";
(() => {
  const PAUSE = 2000; // milliseconds between two looks, only while something changes by itself
  const problem = document.getElementById("problem");

  const get = async (address) => {
    const answer = await fetch(address);
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
    return found;
  };

  const complain = (sentence) => {
    if (!problem) return;
    problem.textContent = sentence;
    problem.hidden = !sentence;
  };

  // Looks once now, then for as long as `look` answers that something is live; a hidden page waits until it is seen.
  const watch = (look) => {
    let timer = 0;
    const again = async () => {
      clearTimeout(timer);
      let live = true;
      try {
        live = await look();
        complain("");
      } catch (error) {
        complain(error instanceof TypeError ? "The viewer does not answer; has it been stopped?" : error.message);
      }
      if (live && !document.hidden) timer = setTimeout(again, PAUSE);
    };
    document.addEventListener("visibilitychange", () => { if (!document.hidden) again(); });
    again();
  };

  const setState = (place, row) => {
    const state = place.querySelector(".state");
    const bar = place.querySelector("progress");
    state.textContent = state.dataset.state = row.state;
    bar.hidden = row.share === null || row.state === "complete";
    if (row.share !== null) bar.value = row.share;
    place.querySelector(".far").textContent = [row.progress, row.message].filter(Boolean).join("; ");
  };

  const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

  const listRuns = (table) => {
    const body = table.tBodies[0];
    const template = document.getElementById("row").content.firstElementChild;
    const filter = document.getElementById("filter");
    const known = new Map();
    let counted = "";

    const chosen = () => {
      const button = document.getElementById("compare");
      const count = body.querySelectorAll("input:checked").length;
      button.disabled = count < 2;
      button.textContent = count < 2 ? "Compare (choose two or more)" : `Compare ${count} runs`;
    };

    const filtered = () => {
      const words = filter.value.toLowerCase().split(/\s+/);
      let shown = 0;
      for (const line of body.rows) {
        line.hidden = !words.every((word) => line.dataset.words.includes(word));
        shown += !line.hidden;
      }
      const all = shown === body.rows.length;
      document.getElementById("count").textContent = all ? counted : `${shown} of ${counted}`;
    };

    const fill = (line, row) => {
      const changes = [row.preset, ...row.changes];
      const short = changes.slice(0, 4).concat(changes.length > 4 ? [`${changes.length - 4} more`] : []);
      const words = [row.name, row.state, row.message, row.finding, ...changes];
      const name = line.querySelector(".name");
      const box = line.querySelector("input");
      name.textContent = row.experiment || row.name;
      name.href = row.page;
      name.title = row.name;
      box.value = row.name;
      box.setAttribute("aria-label", `Compare ${row.name}`);
      box.disabled = row.state === "broken";
      line.querySelector(".changes").textContent = short.filter(Boolean).join(", ");
      line.querySelector(".changes").title = changes.join("\n");
      line.querySelector(".look a").href = row.page;
      const image = line.querySelector("img");
      if (row.picture && image.getAttribute("src") !== row.picture) image.src = row.picture;
      setState(line.querySelector(".where"), row);
      line.querySelector("progress").setAttribute("aria-label", `Progress of ${row.name}`);
      const finding = document.createElement("span");
      finding.textContent = finding.title = row.finding;
      line.querySelector(".finding").replaceChildren(finding);
      line.querySelector(".age").textContent = row.age;
      line.querySelector(".size").textContent = row.size;
      line.dataset.words = words.join(" ").toLowerCase();
      const orders = ["", "", `${row.experiment} ${row.preset} ${row.changes}`, row.state, "", -row.created, row.bytes];
      orders.forEach((order, column) => { line.cells[column].dataset.order = order; });
    };

    filter.addEventListener("input", filtered);
    body.addEventListener("change", chosen);
    watch(async () => {
      const { runs, live } = await get("/api/runs");
      const names = new Set(runs.map((row) => row.name));
      for (const [name, line] of known) if (!names.has(name)) { line.remove(); known.delete(name); }
      const fresh = [];
      for (const row of runs) {
        if (!known.has(row.name)) {
          known.set(row.name, template.cloneNode(true));
          fresh.push(known.get(row.name));
        }
        fill(known.get(row.name), row);
      }
      body.prepend(...fresh); // the newest first, until the reader sorts
      const running = runs.filter((row) => row.state === "running").length;
      counted = plural(runs.length, "run") + (running ? `, ${running} running` : "");
      document.getElementById("none").hidden = runs.length > 0;
      table.closest(".sheet").hidden = runs.length === 0;
      filtered();
      chosen();
      return live;
    });
  };

  const drawCurves = (section) => {
    const place = section.querySelector(".plot");
    const [column, against, log] = ["column", "against", "log"].map((name) => document.getElementById(name));
    const runs = JSON.parse(section.dataset.runs).map((name) => ["run", name]);
    let asked = 0;
    const draw = async () => {
      const mine = ++asked; // a slow answer must not replace that to a later question
      const chosen = [["column", column.value], ["against", against.value], ["log", log.checked ? "1" : "0"]];
      const found = await get(`/api/curves?${new URLSearchParams([...runs, ...chosen])}`);
      if (mine !== asked) return;
      document.getElementById("caption").textContent = found.caption;
      for (const name of found.columns) {
        if (![...column.options].some((option) => option.value === name)) column.add(new Option(name, name));
      }
      place.hidden = !found.figure;
      if (found.figure) {
        place.style.setProperty("--wide", `${found.figure.layout.height}px`);
        place.style.setProperty("--narrow", `${(found.figure.narrow ?? found.figure.layout).height}px`);
        await window.thalweg.draw(place, found.figure);
      }
      place.setAttribute("aria-label", `Recorded curves: ${column.value || found.columns.join(", ")}`);
    };
    for (const control of [column, against, log]) {
      control.addEventListener("change", () => draw().catch((error) => complain(error.message)));
    }
    return draw;
  };

  const table = document.getElementById("runs");
  const one = document.getElementById("run");
  const section = document.getElementById("curves");
  const draw = section && drawCurves(section);
  if (table) listRuns(table);
  if (one) {
    watch(async () => {
      if (!("live" in one.dataset)) { await draw?.(); return false; }
      const row = await get(`/api/run/${encodeURIComponent(one.dataset.name)}`);
      if (row.state !== one.dataset.state || row.report !== (one.dataset.report === "true")) {
        location.assign(location.pathname); // there is more to see now: the report, or why it has ended
        return false;
      }
      setState(one, row);
      await draw?.();
      return row.live;
    });
  } else if (draw) {
    watch(async () => { await draw(); return "live" in section.dataset; });
  }
})();
