"use strict";
(() => {
  const bar = document.querySelector(".filters");
  const rows = [...document.querySelectorAll("[data-row]")];
  if (!bar || !rows.length) return;
  const fields = [...bar.querySelectorAll("[name]")];
  const told = bar.querySelector("output");
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const fits = (row, number, name, wanted) => {
    if (name === "text") return wanted.toLowerCase().split(/\s+/).every((word) => texts[number].includes(word));
    if (name === "concern") return (row.dataset.concern || "").split(" ").includes(wanted);
    return (row.dataset[name] || "") === wanted;
  };
  const show = () => {
    const wanted = fields.filter((field) => field.value.trim()).map((field) => [field.name, field.value.trim()]);
    let count = 0;
    rows.forEach((row, number) => {
      const there = wanted.every(([name, value]) => fits(row, number, name, value));
      row.hidden = !there;
      count += there;
    });
    told.textContent = wanted.length ? `${count} of ${rows.length} shown` : `all ${rows.length} shown`;
    return wanted;
  };
  const changed = () => {
    const said = new URLSearchParams(show()).toString();
    try { history.replaceState(null, "", said ? `#${said}` : location.pathname.split("/").pop() || "."); } catch { }
  };
  const read = () => {
    const said = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
    for (const field of fields) {
      field.value = said.get(field.name) || "";
      if (field.tagName === "SELECT" && field.selectedIndex < 0) field.value = "";
    }
    show();
  };
  bar.addEventListener("input", changed);
  bar.querySelector("button").addEventListener("click", () => {
    for (const field of fields) field.value = "";
    changed();
  });
  for (const link of document.querySelectorAll("a[data-pick]")) {
    link.addEventListener("click", () => {
      for (const field of fields) field.value = field.name === link.dataset.pick ? link.dataset.value : "";
      setTimeout(changed);
    });
  }
  window.addEventListener("hashchange", read);
  bar.hidden = false;
  read();
})();
