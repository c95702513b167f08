// Tables that sort by their headings, and parts that open for print. Without this script every table stands as it is.
(() => {
  "use strict";

  const number = (text) => {
    const value = Number.parseFloat(text.replace("−", "-").replace(/^([<p=\s]+)/, "").replace(/^\./, "0."));
    return Number.isNaN(value) ? null : value;
  };

  const compare = (first, second) => {
    const numbers = [number(first), number(second)];
    if (numbers[0] !== null && numbers[1] !== null) return numbers[0] - numbers[1];
    return first.localeCompare(second, "en", { numeric: true });
  };

  const sort = (table, place, direction) => {
    const rows = [...table.tBodies[0].rows];
    const text = (row) => row.cells[place].textContent.trim();
    // What is not known stays at the end, whichever way the others run.
    const known = rows.filter((row) => text(row) !== "–");
    known.sort((first, second) => direction * compare(text(first), text(second)));
    table.tBodies[0].append(...known, ...rows.filter((row) => text(row) === "–"));
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.title = head.title || "Sort by this column";
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const upward = head.getAttribute("aria-sort") !== "ascending";
        for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", upward ? "ascending" : "descending");
        sort(table, place, upward ? 1 : -1);
      });
    });
  }

  // A table that its box holds whole needs no stop for the keyboard.
  const settle = () => {
    for (const box of document.querySelectorAll("div.wide")) {
      const scrolls = box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1;
      if (scrolls) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };
  settle();
  window.addEventListener("resize", settle);
  document.addEventListener("toggle", settle, true);

  let closed = [];
  window.addEventListener("beforeprint", () => {
    // Long tables stay as the reader left them.
    closed = [...document.querySelectorAll("details:not([open])")].filter((part) => !part.querySelector(":scope > .tall"));
    for (const part of closed) part.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const part of closed) part.open = false;
  });

  // A link into a closed part opens it.
  const open = () => {
    const part = document.getElementById(decodeURIComponent(location.hash.slice(1)))?.closest("details");
    if (part) part.open = true;
  };
  window.addEventListener("hashchange", open);
  open();
})();
