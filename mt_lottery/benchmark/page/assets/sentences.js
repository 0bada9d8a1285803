// The sentences: parsed a language at a time, searched, and drawn a page at a time.
{
  const PAGE = 10;
  const LONG = 600; // letters after the first line that are shown without being asked for
  const byId = (id) => document.getElementById(id);
  const blocks = JSON.parse(byId("blocks").textContent);
  const parsed = new Map();
  let found = [];
  let page = 0;

  const sentences = () => {
    const pair = byId("language").value;
    if (!parsed.has(pair)) {
      const holders = [...document.querySelectorAll("script[data-sentences]")];
      const holder = holders.find((each) => each.dataset.sentences === pair);
      parsed.set(pair, holder ? JSON.parse(holder.textContent) : []);
    }
    return parsed.get(pair);
  };

  const make = (tag, attributes, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  // Search: small letters without accents, so that "soareci" finds "șoareci".
  const fold = (text) => text.normalize("NFD").replace(/[\u0300-\u036f]/g, "").toLowerCase();

  // The text as nodes, with what was searched for in <mark>.
  const marked = (text, needle) => {
    if (!needle || !fold(text).includes(needle)) return [text];
    const starts = []; // where in the text each letter of its folded form comes from
    let folded = "";
    let at = 0;
    for (const letter of text) {
      for (const piece of fold(letter)) {
        folded += piece;
        for (let unit = 0; unit < piece.length; unit += 1) starts.push(at);
      }
      at += letter.length;
    }
    const nodes = [];
    let done = 0;
    let hit = folded.indexOf(needle);
    while (hit >= 0) {
      const end = starts[hit + needle.length] ?? text.length;
      nodes.push(text.slice(done, starts[hit]), make("mark", {}, text.slice(starts[hit], end)));
      done = end;
      hit = folded.indexOf(needle, hit + needle.length);
    }
    return [...nodes, text.slice(done)];
  };

  const recipesOfBlock = () => blocks[byId("block").value]?.recipes ?? [];

  const shownRecipes = () => {
    const wanted = new Set(
      [...byId("recipes").querySelectorAll("input:checked")].map((box) => Number(box.value)),
    );
    return recipesOfBlock().filter((recipe) => wanted.has(recipe.column));
  };

  const search = () => {
    const needle = fold(byId("query").value.trim());
    const shown = shownRecipes();
    const running = byId("running").checked;
    found = [];
    sentences().forEach((sentence, index) => {
      const outputs = shown.map((recipe) => sentence.outputs[recipe.column]).filter(Boolean);
      if (running && !outputs.some((output) => output[1] === false)) return;
      const texts = [sentence.source, sentence.reference, ...outputs.map((output) => output[0])];
      if (!needle || texts.some((text) => fold(text).includes(needle))) found.push(index);
    });
    page = 0;
    byId("shown").textContent = `${shown.length} of ${recipesOfBlock().length}`;
    draw();
  };

  const rest = (text, needle) => {
    const written = make("span", { class: "rest" }, ...marked(text, needle));
    if (text.length <= LONG && text.split("\n").length <= 8) return written;
    const label = `What came after it: ${text.length.toLocaleString("en")} characters`;
    const hidden = make("details", {}, make("summary", {}, label), written);
    hidden.open = Boolean(needle) && fold(text).includes(needle);
    return hidden;
  };

  const outputNodes = (output, needle) => {
    const [hypothesis, , first] = output;
    if (hypothesis.trim() === "") return [make("em", {}, "(empty)")];
    const at = first ? hypothesis.indexOf(first) : -1;
    const after = at < 0 ? "" : hypothesis.slice(at + first.length);
    if (after.trim() === "") return marked(hypothesis.trim(), needle);
    return [
      make("span", { class: "vh" }, "First line: "),
      make("span", { class: "first" }, ...marked(first, needle)),
      make("span", { class: "vh" }, " After it: "),
      rest(after, needle),
    ];
  };

  const outputItem = (recipe, output, lang, needle) => {
    const head = make("h4", {}, recipe.label);
    if (!output) return make("li", {}, head, make("p", {}, make("em", {}, "no output")));
    if (output[1] === false) {
      head.append(" ", make("span", { class: "chip" }, "did not stop"));
    }
    const text = make("div", { class: "words", lang, dir: "auto" });
    text.append(...outputNodes(output, needle));
    return make("li", {}, head, text);
  };

  const article = (index, recipes, needle) => {
    const sentence = sentences()[index];
    // the table of languages writes pt_br, the web pt-br
    const [from, ...to] = byId("language").value.replaceAll("_", "-").split("-");
    const target = to.join("-");
    const given = (name, text, lang) =>
      make(
        "div",
        {},
        make("dt", {}, name),
        make("dd", { class: "words", lang, dir: "auto" }, ...marked(text, needle)),
      );
    const items = recipes.map((recipe) =>
      outputItem(recipe, sentence.outputs[recipe.column], target, needle),
    );
    const id = `sentence-${index}`;
    return make(
      "article",
      { "aria-labelledby": id },
      make("h3", { id }, `Sentence ${index + 1}`),
      make(
        "dl",
        { class: "given" },
        given("Source", sentence.source, from),
        given("Reference", sentence.reference, target),
      ),
      make("ul", { class: "outputs" }, ...items),
    );
  };

  const draw = () => {
    const recipes = shownRecipes();
    const needle = fold(byId("query").value.trim());
    const start = page * PAGE;
    const now = found.slice(start, start + PAGE);
    byId("list").replaceChildren(...now.map((index) => article(index, recipes, needle)));
    const all = sentences().length;
    const counted = all === 1 ? "sentence" : "sentences";
    const count = (n) => n.toLocaleString("en");
    byId("found").textContent = found.length
      ? `${count(start + 1)}–${count(start + now.length)} of ${count(found.length)} ` +
        (found.length === all ? counted : `found among ${count(all)} ${counted}`)
      : all
        ? `None of ${count(all)} ${counted}`
        : "No sentences were kept for this language";
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    byId("page").textContent = `Page ${count(page + 1)} of ${count(pages)}`;
    byId("pages").hidden = pages === 1;
    // not `disabled`, which would take the focus away from the button just pressed
    byId("previous").setAttribute("aria-disabled", String(page === 0));
    byId("next").setAttribute("aria-disabled", String(page >= pages - 1));
  };

  const turn = (by) => {
    const to = page + by;
    if (to < 0 || to * PAGE >= found.length) return;
    page = to;
    draw();
    byId("found").scrollIntoView({ block: "start" });
  };

  // The first recipe, which is the original model, and the three with the best raw scores.
  const few = (recipes) => {
    const best = recipes
      .filter((recipe) => recipe.score !== null)
      .sort((one, other) => other.score - one.score)
      .slice(0, 3);
    return new Set([...recipes.slice(0, 1), ...best].map((recipe) => recipe.column));
  };

  const choose = (columns) => {
    for (const box of byId("recipes").querySelectorAll("input")) {
      box.checked = columns === null || columns.has(Number(box.value));
    }
  };

  const listRecipes = () => {
    const recipes = recipesOfBlock();
    const labels = recipes.map((recipe) =>
      make(
        "label",
        {},
        make("input", { type: "checkbox", value: recipe.column }),
        ` ${recipe.label}`,
      ),
    );
    byId("recipes").replaceChildren(byId("recipes").querySelector("legend"), ...labels);
    choose(few(recipes));
  };

  let waiting = 0;
  byId("query").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(search, 150);
  });
  byId("language").addEventListener("change", search);
  byId("running").addEventListener("change", search);
  byId("recipes").addEventListener("change", search);
  byId("block").addEventListener("change", () => {
    listRecipes();
    search();
  });
  byId("show-all").addEventListener("click", () => {
    choose(null);
    search();
  });
  byId("show-few").addEventListener("click", () => {
    choose(few(recipesOfBlock()));
    search();
  });
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  byId("filter").addEventListener("submit", (event) => event.preventDefault());

  // fourteen boxes would fill a phone's screen
  byId("choose").open = window.matchMedia("(min-width: 48rem)").matches;
  byId("filter").reset(); // a browser may have kept what was there before a reload
  byId("filter").hidden = false;
  document.querySelector(".legend").hidden = false;
  listRecipes();
  search();
}
