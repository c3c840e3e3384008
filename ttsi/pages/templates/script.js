"use strict";
(() => {
  const lists = [...document.querySelectorAll(".samples")].map((section) => {
    const form = section.querySelector(".filters");
    const none = section.querySelector(".none");
    const samples = [...section.querySelectorAll(":scope > .sample")];
    const texts = new Map();
    const text = (sample) => {
      if (!texts.has(sample)) texts.set(sample, sample.textContent.toLowerCase());
      return texts.get(sample);
    };
    const apply = () => {
      const tag = form.querySelector("input[type=radio]:checked").value;
      const words = form.querySelector("input[type=search]").value.toLowerCase().split(/\s+/);
      let shown = 0;
      for (const sample of samples) {
        const fits = (tag === "all" || sample.dataset.tags.split(" ").includes(tag))
          && words.every((word) => text(sample).includes(word));
        sample.hidden = !fits;
        shown += fits;
      }
      none.hidden = shown > 0 || samples.length === 0;
      form.querySelector("[role=status]").textContent =
        shown === samples.length ? "" : `${shown} of ${samples.length} shown`;
    };
    form.hidden = samples.length === 0;
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    section.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const here = event.target.closest(".sample > summary");
      if (!step || !here) return;
      const open = samples.filter((sample) => !sample.hidden);
      const next = open[open.indexOf(here.parentElement) + step];
      if (!next) return;
      next.querySelector("summary").focus();
      event.preventDefault();
    });
    return { section, form, apply };
  });

  const reveal = () => {
    let id = location.hash.slice(1);
    try { id = decodeURIComponent(id); } catch { /* not an encoded id: taken as it stands */ }
    const place = id && document.getElementById(id);
    const sample = place && place.closest(".sample");
    if (!sample) return;
    const list = lists.find((each) => each.section.contains(sample));
    if (sample.hidden) { list.form.reset(); list.apply(); }
    sample.open = true;
    place.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  reveal();
})();
