"use strict";
(() => {
  const form = document.querySelector(".filters");
  if (!form) return;
  const fields = form.elements;
  const status = form.querySelector("[role=status]");
  const links = [...document.querySelectorAll("nav a")];
  const sections = [...document.querySelectorAll(".board")];
  const NAMES = ["model", "method", "engine"];
  const BEST = "rank";
  const PAGE = 100;  // rows drawn at once; the rest waits outside the document
  const ORDERS = {
    rank: ["best first", "worst first"],
    number: ["lowest first", "highest first"],
    text: ["A to Z", "Z to A"],
    date: ["earliest first", "latest first"],
  };
  const words = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const count = (number) => number.toLocaleString("en");
  const boards = new Map();
  let board = null;

  const opened = (section) => {
    const table = section.querySelector("table");
    const heads = [...table.tHead.rows[0].cells].filter((head) => head.dataset.key);
    const place = (name) => heads.find((head) => head.dataset.key === name).cellIndex;
    const entries = [...table.tBodies].map((body) => {
      const row = body.rows[0];
      const entry = { body, row, text: null };
      for (const name of NAMES) {
        entry[name] = row.cells[place(name)].firstElementChild.textContent;
      }
      return entry;
    });
    for (const head of heads) head.firstElementChild.disabled = false;
    const rest = section.querySelector(".rest");
    rest.addEventListener("click", () => {
      draw(Infinity);
      board.found[PAGE].body.querySelector(".toggle").focus();
    });
    return { section, table, heads, entries, rest, sorted: entries, found: entries, sort: BEST };
  };

  const label = (head, down) =>
    `${head.textContent.trim()}, ${ORDERS[head.dataset.kind][Number(down)]}`;

  const choices = () => {
    for (const name of NAMES) {
      const values = [...new Set(board.entries.map((entry) => entry[name]))].sort(words.compare);
      const options = values.map((value) => new Option(value, value));
      fields[name].replaceChildren(new Option("all", ""), ...options);
    }
    fields.sort.replaceChildren(...board.heads.flatMap((head) => {
      const orders = head.dataset.first ? ["-", ""] : ["", "-"];
      return orders.map((sign) => new Option(label(head, sign === "-"), sign + head.dataset.key));
    }));
  };

  const sort = (by) => {
    const down = by.startsWith("-");
    const head = board.heads.find((each) => each.dataset.key === by.replace("-", ""));
    if (!head) return sort(BEST);
    const number = ["number", "rank"].includes(head.dataset.kind);
    const keyed = board.entries.map((entry) => {
      const cell = entry.row.cells[head.cellIndex];
      return { entry, key: number ? parseFloat(cell.dataset.v) : cell.textContent.trim() };
    });
    const sign = down ? -1 : 1;
    keyed.sort(number
      ? (a, b) => Number.isNaN(a.key) - Number.isNaN(b.key) || sign * (a.key - b.key) || 0
      : (a, b) => sign * words.compare(a.key, b.key));
    board.sorted = keyed.map(({ entry }) => entry);
    for (const each of board.heads) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    board.sort = by;
    fields.sort.value = by;
  };

  const draw = (limit) => {
    const shown = board.found.slice(0, limit);
    for (const body of [...board.table.tBodies]) body.remove();
    board.table.append(...shown.map(({ body }) => body));
    board.rest.hidden = shown.length === board.found.length;
    board.rest.textContent = `Show all ${count(board.found.length)}`;
  };

  const filter = () => {
    const wanted = fields.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = NAMES.filter((name) => fields[name].value);
    const text = (entry) => { entry.text ??= entry.body.textContent.toLowerCase(); return entry.text; };
    board.found = board.sorted.filter((entry) =>
      chosen.every((name) => entry[name] === fields[name].value)
      && wanted.every((word) => text(entry).includes(word)));
    draw(PAGE);
    const [all, found] = [board.entries.length, board.found.length];
    board.section.querySelector(".none").hidden = found > 0;
    const some = found === all ? count(all) : `${count(found)} of ${count(all)}`;
    const order = fields.sort.selectedOptions[0].text;
    status.textContent = `${some} ${all === 1 ? "entry" : "entries"}, by ${order}`;
    fields.clear.hidden = !chosen.length && !fields.text.value;
  };

  const remember = () => {
    const query = new URLSearchParams();
    for (const name of ["text", ...NAMES]) if (fields[name].value) query.set(name, fields[name].value);
    if (board.sort !== BEST) query.set("sort", board.sort);
    const tail = query.size ? `?${query}` : "";
    const place = (id) => `#${encodeURIComponent(id)}${tail}`;
    sections.forEach((section, number) => { links[number].href = place(section.id); });
    history.replaceState(null, "", place(board.section.id));
  };

  const show = (section) => {
    for (const each of sections) each.hidden = each !== section;
    links.forEach((link, number) => {
      if (sections[number] === section) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    });
    if (!boards.has(section)) boards.set(section, opened(section));
    board = boards.get(section);
    section.classList.add("ready");
    choices();
  };

  const turn = (body, open) => {
    body.classList.toggle("open", open);
    body.querySelector(".toggle").setAttribute("aria-expanded", String(open));
  };

  const follow = () => {
    const [place, query = ""] = location.hash.slice(1).split("?");
    let id = place;
    try { id = decodeURIComponent(place); } catch { /* not an encoded id: taken as it stands */ }
    show(sections.find((each) => each.id === id || id.startsWith(`${each.id}/`)) || sections[0]);
    const wanted = new URLSearchParams(query);
    for (const name of ["text", ...NAMES]) fields[name].value = wanted.get(name) || "";
    for (const name of NAMES) if (fields[name].selectedIndex < 0) fields[name].value = "";
    sort(wanted.get("sort") || BEST);
    filter();
    const entry = board.entries.find(({ body }) => body.id === id);
    if (!entry) return;
    if (board.found.indexOf(entry) >= PAGE) draw(Infinity);
    turn(entry.body, true);
    entry.body.scrollIntoView();
  };

  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    if (event.target === fields.sort) sort(fields.sort.value);
    filter();
    remember();
  });
  fields.clear.addEventListener("click", () => {
    for (const name of ["text", ...NAMES]) fields[name].value = "";
    filter();
    remember();
    fields.text.focus();
  });
  for (const section of sections) {
    section.addEventListener("click", ({ target }) => {
      const toggle = target.closest(".toggle");
      const head = target.closest("thead button")?.parentElement;
      if (toggle) {
        const body = toggle.closest("tbody");
        turn(body, !body.classList.contains("open"));
      } else if (head) {
        const { key, first } = head.dataset;
        const other = first ? "" : "-";
        sort(board.sort === first + key ? other + key : first + key);
        filter();
        remember();
      }
    });
  }
  addEventListener("hashchange", follow);
  addEventListener("beforeprint", () => draw(Infinity));
  follow();
})();
