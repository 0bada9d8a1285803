"""Tables of the pages: each stands below a comment that names it, and is made of the results.

<!-- evidence: means -->
| recipe | …
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import common

from evidence_parts.questions import TOKENS, questions
from evidence_parts.shown.amounts import amounts
from evidence_parts.shown.asked import asked_as, read_where
from evidence_parts.shown.certified import certificates_by_language
from evidence_parts.shown.overview import done, sections
from evidence_parts.shown.probing import probes_by_language, probes_by_seed
from evidence_parts.shown.prompted import choices, held_by_run
from evidence_parts.shown.report import score_table, stopping_table
from evidence_parts.shown.scores import Scores, interval
from evidence_parts.shown.tables import Lines, span, table
from evidence_parts.shown.variation import machines, overlaps

PAGES = [common.ROOT / "README.md", *sorted((common.ROOT / "docs").glob("*.md"))]
MARK = re.compile(r"^<!-- evidence: (?P<name>[a-z-]+) -->\n(?:.+\n)*", re.MULTILINE)


def by_language(
    scores: Scores, arms: dict[str, str], less: Sequence[tuple[str, str, str]], first: str = ""
) -> Lines:
    """Raw scores in each language and their mean; then differences, and what is said of them.

    Args:
        scores: of the cells.
        arms: arm → what its line is called.
        less: (a line's name, an arm, what is taken from it).
        first: heading of the first column.
    """
    langs, main = done(scores)
    metric = scores.metric()
    if metric is None or not langs:
        return []
    chosen, lines = [*([x] for x in langs), langs], []
    for arm, name in arms.items():
        own = [scores.of(arm, one, metric) for one in chosen]
        lines.append([name, *("—" if s is None else interval(s.score, s.ci95) for s in own)])
    for name, arm, other in less:
        if arm not in main:
            return []
        gaps = [scores.against(main, other, one, metric)[arm] for one in chosen]
        lines.append([name, *(interval(gap.difference, gap.ci95) for gap, _ in gaps)])
        lines.append(["", *(alike.verdict for _, alike in gaps)])
    return table([first, *langs, "mean"], lines)


def _one_row(scores: Scores) -> Lines:
    names = {"none": "the original model", "one_row": "**the line break's row**",
             "ks_lottery": "18 rows by the KS test"}  # fmt: skip
    return by_language(scores, names, [("the one row less the 18", "one_row", "ks_lottery")])


def _tokens(scores: Scores) -> Lines:
    """Rows of single tokens of the prompt, in two languages; a gap where one was not run."""
    names = {"one_row": "the line break", "one_row-bos": "`<bos>`"}
    names |= {f"token-{place}": "" for place in range(1, TOKENS + 1)}
    langs, metric = scores.setting.langs[:2], scores.metric()
    if metric is None:
        return []
    lines = []
    for arm, name in names.items():
        known = {lang: scores.rows(arm, lang) for lang in langs}
        words = dict.fromkeys(row["words"][0] for own in known.values() for row in own if not name)
        cells = []
        for lang in langs:
            own, rows = (scores.of(one, [lang], metric) for one in (arm, "ks_lottery"))
            if own is None or rows is None:
                cells += ["—"] * 3
                continue
            gap = own.minus(rows)
            cells += [scores.seeds(arm, [lang]), interval(own.score, own.ci95),
                      interval(gap.difference, gap.ci95)]  # fmt: skip
        if any(known.values()):
            lines.append([name or ", ".join(f"`{word}`" for word in words), *cells])
    headings = ["the row of"]
    for lang in langs:
        headings += [f"{lang}, seeds", "raw", "less the 18 by KS"]
    return table(headings, lines) if lines else []


def _prompt_rows(scores: Scores) -> Lines:
    less = [("less the 18 by the KS test", "prompt_rows", "ks_lottery"),
            ("less the whole table", "prompt_rows", "embed")]  # fmt: skip
    names = {"prompt_rows": "**the prompt's rows**"}
    return by_language(scores, names, less, "`prompt_rows`, three seeds")


def _outside(scores: Scores) -> Lines:
    """Rows of the prompt and others, where those outside it were tuned."""
    names = {"none": "the original model",
             "outside-18": "18 rows outside the prompt: those that changed most",
             "matched-outside": "18 rows outside it as frequent as the KS test's",
             "one_row-bos": "the row of `<bos>`", "one_row": "the line break's row",
             "ks_lottery": "18 rows by the KS test", "prompt_rows": "**the prompt's rows**",
             "gradient": "18 rows by one backward pass", "embed": "the whole table"}  # fmt: skip
    langs = [x for x in scores.setting.langs if scores.in_all(names, [x]) == [*names]]
    metric = scores.metric()
    if metric is None or not langs:
        return []
    lines = []
    for arm, name in names.items():
        raw, first = (scores.of(arm, langs, metric, which) for which in ("raw", "first_line"))
        if raw is not None and first is not None:
            stopped = f"{scores.mean(arm, langs, 'generation', 'stopped'):.0%}"
            lines.append([name, scores.seeds(arm, langs), interval(raw.score, raw.ci95),
                          interval(first.score, first.ci95), stopped])  # fmt: skip
    return table([f"English to {' and '.join(langs)}", "seeds", "raw", "first line", "stopped"],
                 lines)  # fmt: skip


def _gradient(scores: Scores) -> Lines:
    names = {"gradient": "**gradient** (64 pairs)", "ks_lottery": "KS, after a probe of 800 passes",
             "embed": "*the whole table*"}  # fmt: skip
    less = [("gradient less KS", "gradient", "ks_lottery"),
            ("gradient less the whole table", "gradient", "embed")]  # fmt: skip
    return by_language(scores, names, less, "18 rows, tuned, chosen by")


def _choice(scores: Scores) -> Lines:
    """Of question 2, the arms that are done in the most languages."""
    asked = questions(scores.setting)["p2"]
    return next((score_table(arms, langs, asked.against, scores)
                 for langs, arms in scores.groups(asked.compared)), [])  # fmt: skip


def _more_rows(scores: Scores) -> Lines:
    """Of question 2, 18 rows and 100 by each measure, in the languages where both are done."""
    metric, langs = scores.metric(), scores.langs("ks_lottery-100")
    if metric is None or not langs:
        return []
    lines = []
    for arm in ("ks_lottery", "cos", "gradient", "frequency_matched", "frequency", "random_seen"):
        hundred = f"{arm}-100"
        both = (arm, hundred)
        for lang in (x for x in langs if scores.in_all(both, [x]) == [*both]):
            few, many = (scores.of(name, [lang], metric) for name in both)
            assert few is not None and many is not None
            gap, alike = scores.against([hundred], arm, [lang], metric)[hundred]
            held = [span(held_by_run(scores, name, [lang]).values()) for name in both]
            lines.append([
                f"`{arm}`, {lang}", ", ".join(scores.seeds(name, [lang]) for name in both),
                ", ".join(held), interval(few.score, few.ci95), interval(many.score, many.ci95),
                interval(gap.difference, gap.ci95), alike.verdict,
            ])  # fmt: skip
    return table(["rows by, language", "seeds", "of them the prompt's", "18 rows, raw", "100 rows",
                  "100 less 18", "within 1"], lines)  # fmt: skip


def _stopping(scores: Scores) -> Lines:
    """Of question 3, the arms that are done in the most languages."""
    arms = questions(scores.setting)["p3"].arms
    return next((stopping_table(there, langs, scores) for langs, there in scores.groups(arms)), [])


#: Name → the table, and what is to be read with it in the same block.
BLOCKS: dict[str, Callable[[Scores], Lines]] = {
    "means": lambda scores: sections(scores).get("means", []),
    "by-language": lambda scores: sections(scores).get("by-language", []),
    "note": lambda scores: sections(scores).get("note", []),
    "stopping": _stopping,
    "machines": machines,
    "overlaps": overlaps,
    "read-where": read_where,
    "asked-as": asked_as,
    "one-row": _one_row,
    "tokens": _tokens,
    "prompt-rows": _prompt_rows,
    "outside": _outside,
    "gradient": _gradient,
    "choice": _choice,
    "choices": choices,
    "more-rows": _more_rows,
    "certificate": certificates_by_language,
    "probes": probes_by_language,
    "probe-seeds": probes_by_seed,
    "amounts": lambda scores: amounts(questions(scores.setting)["p7"], scores),
}


def refreshed(text: str, scores: Scores) -> str:
    """A page with its tables made anew.

    Raises:
        ValueError: a comment is not on a line of its own, names no table of :data:`BLOCKS`, or
            one for which there are no results.
    """
    if text.count("<!-- evidence:") != len(MARK.findall(text)):
        raise ValueError("<!-- evidence: … --> must be a line of its own, the table below it.")

    def block(found: re.Match[str]) -> str:
        if found["name"] not in BLOCKS:
            raise ValueError(f"evidence: {found['name']}; allowed: {', '.join(BLOCKS)}.")
        made = BLOCKS[found["name"]](scores)
        if not made:
            raise ValueError(f"evidence: {found['name']}: no results to make it of.")
        until = made.index("") if "" in made else len(made)
        return f"<!-- evidence: {found['name']} -->\n" + "".join(f"{x}\n" for x in made[:until])

    return MARK.sub(block, text)


def refresh(scores: Scores) -> list[Path]:
    """Write the pages whose tables differ from the results.

    Returns:
        those that were written.
    """
    texts = {page: page.read_text("utf-8") for page in PAGES}
    changed = {
        page: new for page, text in texts.items() if (new := refreshed(text, scores)) != text
    }
    for page, new in changed.items():  # all of them are made by now
        page.write_text(new, "utf-8")
    return [*changed]
