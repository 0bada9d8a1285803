// Sorting, the choice of language, and which groups of columns are shown.
{
  const choices = document.getElementById("choices");
  const scope = document.getElementById("scope");
  const scores = document.getElementById("scores");
  const tables = [...document.querySelectorAll("table.board")];
  const opposite = { ascending: "descending", descending: "ascending" };

  const valueOf = (row, column) => row.cells[column].dataset.value;

  const compare = (one, other, sign) => {
    // what is missing stands last either way
    if (one === "" || other === "") return (one === "") - (other === "");
    const difference = Number(one) - Number(other);
    return sign * (Number.isNaN(difference) ? one.localeCompare(other) : difference);
  };

  const sort = (table, header, order) => {
    for (const each of table.querySelectorAll("th[aria-sort]")) {
      each.setAttribute("aria-sort", each === header ? order : "none");
    }
    const column = columnOf(table, header);
    const sign = order === "descending" ? -1 : 1;
    for (const body of table.tBodies) {
      const rows = [...body.rows].sort((a, b) => a.dataset.place - b.dataset.place);
      if (order !== "none") {
        rows.sort((a, b) => compare(valueOf(a, column), valueOf(b, column), sign));
      }
      body.append(...rows);
    }
  };

  // The two headers that span both rows of the head are the first columns.
  const columnOf = (table, header) => {
    const [upper, lower] = table.tHead.rows;
    const tall = [...upper.cells].filter((cell) => cell.rowSpan > 1);
    const all = [...tall, ...lower.cells];
    return all.indexOf(header);
  };

  for (const table of tables) {
    table.tHead.addEventListener("click", (event) => {
      const button = event.target.closest("button.sort");
      if (!button) return;
      const header = button.closest("th");
      const now = header.getAttribute("aria-sort");
      const first = header.dataset.first;
      // three clicks: the useful way round, the other way round, the order of the recipes
      const next = now === "none" ? first : now === first ? opposite[first] : "none";
      sort(table, header, next);
      document.getElementById("sorted").textContent =
        next === "none"
          ? "In the order of the recipes"
          : `Sorted by ${button.textContent}, ${next}`;
    });
  }

  scope.addEventListener("change", () => {
    for (const table of tables) {
      for (const body of table.tBodies) body.hidden = body.dataset.scope !== scope.value;
    }
    for (const name of document.querySelectorAll(".scope-name")) name.textContent = scope.value;
  });

  const boxes = [...choices.querySelectorAll("input[type=checkbox]")];
  const showColumns = () => {
    for (const box of boxes) scores.classList.toggle(`without-${box.name}`, !box.checked);
  };
  for (const box of boxes) {
    // a narrow screen starts with what matters most
    box.checked = window.matchMedia(`(min-width: ${box.dataset.from}rem)`).matches;
    box.addEventListener("change", showColumns);
  }
  scope.value = "average"; // a browser may have kept the choice of before a reload
  showColumns();
  choices.addEventListener("submit", (event) => event.preventDefault());
  choices.hidden = false;
}
