"use strict";
// Tables sort by a click, Enter or Space on a column's header: up, down, and as they were.
// Columns of figures sort by value, others by their words, with numbers in them as numbers.
// What was not measured stays last in both directions.
{
  const NEXT = { none: "ascending", ascending: "descending", descending: "none" };
  const words = new Intl.Collator("en", { numeric: true });
  const said = document.getElementById("said");

  const key = (body, column, figures) => {
    const cell = body.rows[0].cells[column];
    if (figures) return "value" in cell.dataset ? Number(cell.dataset.value) : null;
    const text = cell.textContent.trim();
    return text === "" || text === "–" ? null : text;
  };

  const compare = (a, b) => (typeof a === "number" ? a - b : words.compare(a, b));

  const sort = (table, order, header) => {
    const state = NEXT[header.getAttribute("aria-sort")];
    for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", state);
    const sign = state === "descending" ? -1 : 1;
    const column = header.cellIndex;
    const keyed = order.map((body) => [key(body, column, header.className === "figure"), body]);
    if (state !== "none") {
      keyed.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        return sign * compare(a, b);
      });
    }
    table.append(...keyed.map(([, body]) => body));
    const how = state === "none" ? "as it was" : `sorted by ${header.textContent}, ${state}`;
    said.textContent = `${table.caption.textContent}: ${how}`;
  };

  for (const table of document.querySelectorAll("table")) {
    const order = [...table.tBodies];
    for (const header of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      header.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => sort(table, order, header));
    }
  }
}
