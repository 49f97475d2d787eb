"use strict";
// The page is complete without this script, which sorts and filters tables, and unfolds what a link points to.

function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let fold = target?.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  target?.scrollIntoView();
}
addEventListener("hashchange", reveal);
reveal();

// Numbers before words, and what has no figure last in either direction.
function compared(a, b, sign) {
  const [x, y] = [parseFloat(a), parseFloat(b)];
  if (isNaN(x) && isNaN(y)) return sign * a.localeCompare(b);
  return isNaN(x) ? 1 : isNaN(y) ? -1 : sign * (x - y);
}

for (const table of document.querySelectorAll("table.data")) {
  const bodies = [...table.tBodies];
  const rows = bodies.flatMap((body) => [...body.rows].filter((row) => !row.classList.contains("group")));
  const homes = rows.map((row) => row.parentElement);
  const heads = [...table.tHead.rows[0].cells];
  const first = bodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    const figure = head.classList.contains("figure");
    button.addEventListener("click", () => {
      const ways = figure ? ["descending", "ascending"] : ["ascending", "descending"];
      const way = ways[ways.indexOf(head.getAttribute("aria-sort")) + 1];
      for (const other of heads) other.removeAttribute("aria-sort");
      table.classList.toggle("sorted", Boolean(way));
      if (!way) return rows.forEach((row, place) => homes[place].append(row));
      head.setAttribute("aria-sort", way);
      const sign = way === "ascending" ? 1 : -1;
      const texts = new Map(rows.map((row) => [row, row.cells[column].textContent.trim()]));
      first.append(...[...rows].sort((a, b) => compared(texts.get(a), texts.get(b), sign)));
      first.hidden = false;
    });
  });

  let bar = table.previousElementSibling ?? table.parentElement.previousElementSibling;
  if (!bar?.classList.contains("controls")) continue;
  bar.hidden = false;
  const [words, failing] = bar.querySelectorAll("input");
  const filter = () => {
    const wanted = words.value.toLowerCase();
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted) || Boolean(failing?.checked && row.classList.contains("fine"));
    }
    for (const body of bodies) body.hidden = ![...body.rows].some((row) => !row.hidden && !row.classList.contains("group"));
    bar.querySelector("output").value = `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
  };
  for (const input of [words, failing]) input?.addEventListener("input", filter);
}
