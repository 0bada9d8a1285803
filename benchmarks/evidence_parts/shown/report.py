"""Tables and figures of what is done, and a list of what is not."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from evidence_parts.cells import MARGIN, Arm, Setting
from evidence_parts.questions import Question, plan, questions
from evidence_parts.results import Results
from evidence_parts.shown.amounts import amounts, curves
from evidence_parts.shown.asked import asked_as, asked_figure, read_where
from evidence_parts.shown.certified import certificates
from evidence_parts.shown.probing import probes_by_seed, probes_figure
from evidence_parts.shown.prompted import choices, choices_figure
from evidence_parts.shown.scores import Scores, interval, pvalue, share
from evidence_parts.shown.tables import Lines, table
from evidence_parts.shown.variation import machines, overlaps, overlaps_figure


def report(parts: list[str], results: Results, setting: Setting) -> str:
    """Markdown: a section a question, its tables, and what is missing."""
    scores, said = Scores(results, setting), []
    if setting.rehearsal:
        said += ["**A rehearsal: these numbers are of other text, settings or models than the "
                 "evidence's.**", ""]  # fmt: skip
    devices = sorted({str((row.get("environment") or {}).get("device"))
                      for row in results.rows.values()} - {"None"})  # fmt: skip
    if len(devices) > 1:
        said += [f"Cells were run on {' and '.join(devices)}; `device` of each is in the file.", ""]
    for part in parts:
        question = questions(setting)[part]
        said += [f"## {part}: {question.asks}", ""]
        content = SECTIONS[part](question, scores)
        said += content or ["No cell that answers it is finished.", ""]
        said += missing(part, question, results, setting)
    if twice := machines(scores):
        said += ["## The same cells on another machine", "", *twice]
    return "\n".join(said).rstrip()


def missing(part: str, question: Question, results: Results, setting: Setting) -> Lines:
    """What of a part is not done, an item an arm."""
    names = {arm.name for arm in question.arms}
    cells = [c for c in plan([part], setting) if c.arm.name in names and results.get(c) is None]
    if not cells:
        return ["Every cell of this part is done.", ""]
    items = []
    for name, own in itertools.groupby(cells, key=lambda cell: cell.arm.name):
        by_lang: dict[str, list[str]] = {}
        for cell in own:
            by_lang.setdefault(cell.lang, []).append(str(cell.seed))
        where = "; ".join(f"{lang} {', '.join(seeds)}" for lang, seeds in by_lang.items())
        items.append(f"- {name}: {where}")
    return ["Not run yet (language and seeds):", "", *items, ""]


def score_tables(question: Question, scores: Scores) -> Lines:
    """A table of the mean over several languages for the arms that have them; one a language."""
    arms = scores.finished(question.compared)
    metric = scores.metric()
    if not arms or metric is None:
        return []
    said: Lines = []
    for langs, there in scores.groups(question.compared):
        title = f"Mean over {', '.join(langs)}:"
        said += [title, "", *score_table(there, langs, question.against, scores)]
    for lang in scores.setting.langs:
        there = [arm for arm in arms if scores.rows(arm, lang)]
        if there:
            title = f"English to {lang}:"
            said += [title, "", *score_table(there, [lang], question.against, scores)]
    return [*said, *_legend(question.against, arms, scores)]


def score_table(arms: list[str], langs: list[str], against: str, scores: Scores) -> Lines:
    metric = scores.metric()
    assert metric is not None
    gaps = scores.against(arms, against, langs, metric) if against else {}
    column = scores.column(metric)
    headings = ["", "rows", "seeds", f"{column}, raw", "first line", "chrF++, raw", "stopped"]
    judged = [f"less {against}", "Holm", f"within {MARGIN:g}"] if gaps else []
    lines = []
    for arm in arms:
        raw, first, chrf = (
            scores.of(arm, langs, key, which)
            for key, which in ((metric, "raw"), (metric, "first_line"), ("chrf", "raw"))
        )
        assert raw is not None
        assert first is not None
        some = scores.rows(arm, langs[0])[0]
        count, words = some["rows"], some.get("words", ())
        named = f"{arm} (`{words[0]}`)" if len(words) == 1 and len(langs) == 1 else arm
        line = [named, "" if count is None else f"{count:,}", scores.seeds(arm, langs),
                interval(raw.score, raw.ci95), interval(first.score, first.ci95),
                "" if chrf is None else interval(chrf.score, chrf.ci95),
                f"{scores.mean(arm, langs, 'generation', 'stopped'):.0%}"]  # fmt: skip
        if arm in gaps:
            gap, alike = gaps[arm]
            line += [interval(gap.difference, gap.ci95), pvalue(gap), alike.verdict]
        lines.append(line + [""] * (len(headings) + len(judged) - len(line)))
    return table(headings + judged, lines)


def _legend(against: str, arms: list[str], scores: Scores) -> Lines:
    rows = [row for arm in arms for lang in scores.setting.langs for row in scores.rows(arm, lang)]
    tested = " or ".join(f"{n:,}" for n in sorted({row["text"]["test_pairs"] for row in rows}))
    more = (
        f" *less {against}*: of the raw score, p Holm-corrected over the lines of the table. "
        f"*within {MARGIN:g}*: two one-sided tests at 5%; equivalent, else worse or better "
        "(p ≤ 0.05), else undecided."
    )
    more = more if against else ""
    return [f"Brackets: 95%, {tested} sentences and the seeds there are resampled together.{more}",
            ""]  # fmt: skip


def stopping(question: Question, scores: Scores) -> Lines:
    """Each gain over the original model, and which share of it is not on the first line."""
    arms = scores.finished(question.arms)
    said: Lines = []
    several = [langs for langs, _ in scores.groups(question.arms)]
    for langs in [*several, *([x] for x in scores.setting.langs)]:
        if lines := stopping_table(arms, langs, scores):
            said += [f"{', '.join(langs)}:", "", *lines]
    note = (
        "Gains over the original model. *Stopping*: the share of the raw gain that is not on the "
        "first line (below 0: there is more of it there); — where the raw gain is not above 0 on "
        "every resample."
    )
    return [*said, note, ""] if said else []


def stopping_table(arms: list[str], langs: list[str], scores: Scores) -> Lines:
    """Of the arms that are done in all the languages; nothing without the original model."""
    metric, lines = scores.metric(), []
    there = scores.in_all(arms, langs)
    if metric is None or "none" not in there:
        return []
    base = [scores.of("none", langs, metric, which) for which in ("raw", "first_line")]
    for arm in there:
        if arm == "none":
            continue
        own = [scores.of(arm, langs, metric, which) for which in ("raw", "first_line")]
        raw, first = (a.minus(b) for a, b in zip(own, base, strict=True))  # type: ignore[union-attr]
        gained, kept = (a.resamples - b.resamples for a, b in zip(own, base, strict=True))  # type: ignore[union-attr]
        stops = share(raw.difference - first.difference, gained - kept, raw.difference, gained)
        lines.append([arm, scores.seeds(arm, langs), interval(raw.difference, raw.ci95),
                      interval(first.difference, first.ci95), stops,
                      f"{scores.mean(arm, langs, 'generation', 'stopped'):.0%}"])  # fmt: skip
    headings = ["", "seeds", "gain, raw", "gain, first line", "stopping", "stopped"]
    return table(headings, lines) if lines else []


def probes(question: Question, scores: Scores) -> Lines:
    """Scores on dev, nominal p of the ticket's last row, and how far rows depend on seeds."""
    lines = []
    for arm in scores.finished(question.arms):
        langs = scores.langs(arm)
        rows = [row for lang in langs for row in scores.rows(arm, lang)]
        if not all(row["ticket"] for row in rows) or arm.endswith("-turned"):
            continue  # the whole table, or rows that no test chose
        alphas = [row["alpha"] for row in rows if row["alpha"] is not None]
        shared = [
            len({*one["ticket"]} & {*other["ticket"]})
            for lang in langs
            for one, other in itertools.combinations(scores.rows(arm, lang), 2)
        ]
        ends = [f"{p:.2g}" for p in (min(alphas), max(alphas))] if alphas else ["—"]
        spread = " to ".join(dict.fromkeys(ends))
        seconds = np.mean([row["cost"]["probe_seconds"] for row in rows])
        lines.append([arm, " ".join(langs), spread, f"{np.mean(shared):.1f}" if shared else "—",
                      f"{seconds:.0f}"])  # fmt: skip
    headings = ["", "English to", "nominal p of row 18", "of 18, shared by two seeds", "probe, s"]
    return [*score_tables(question, scores), *(table(headings, lines, 2) if lines else []),
            *probes_by_seed(scores)]  # fmt: skip


def prompts(question: Question, scores: Scores) -> Lines:
    """Single rows against 18; overlap of tickets; and tickets under other wordings."""
    return [
        *score_tables(question, scores), *overlaps(scores), *read_where(scores), *asked_as(scores),
        *wordings(scores),
    ]  # fmt: skip


def wordings(scores: Scores) -> Lines:
    """Where rows are read, and what other wordings leave of the gain."""
    lines = []
    for (arm, lang, seed), row in sorted(scores.results.rows.items()):
        if "explain" not in row:
            continue
        content = row["explain"]
        for one in content["arms"]:
            key = next(iter(one["scores"]))
            first = one["scores"][key]["first_line"]
            found = first["recovery"]
            recovery = "—" if found is None else "{:.2f} [{:.2f}, {:.2f}]".format(
                found["value"], *found["ci95"]).replace("-", "−")  # fmt: skip
            lines.append([arm, f"en→{lang}, seed {seed}", str(content["template"]), one["arm"],
                          interval(first["score"], first["ci95"]), recovery,
                          f"{one['stopped']:.0%}"])  # fmt: skip
    headings = ["run", "", "asked as", "rows are read", "first line", "R", "stopped"]
    return table(headings, lines, 4) if lines else []


def chosen(question: Question, scores: Scores) -> Lines:
    """Rows by each choice; and how many of them are tokens of the prompt."""
    return [*score_tables(question, scores), *choices(scores)]


SECTIONS = {
    "p1": score_tables,
    "p2": chosen,
    "p3": stopping,
    "p4": probes,
    "p5": certificates,
    "p6": prompts,
    "p7": amounts,
}

#: Arm → what it is called in a figure, where its name says too little.
WORDS = {
    "one_row-bos": "the row of <bos>",
    "template-1": "1 of the prompt, most changed",
    "template-8": "8 of the prompt, most changed",
    "outside-18": "18 outside the prompt, most changed",
    "matched-outside": "18 outside the prompt, as frequent as KS's",
    "four-ks": "18 by KS, four wordings",
    "four-gradient": "18 by gradients, four wordings",
}

#: Part → the name of another figure, and what draws it.
MORE_FIGURES = {"p2": {"prompt": choices_figure}, "p4": {"stopping": probes_figure},
                "p6": {"shared": overlaps_figure, "asked": asked_figure}}  # fmt: skip


def write_figures(parts: list[str], results: Results, setting: Setting, folder: Path) -> list[Path]:
    """A figure of raw scores for each part that has any: PNG and SVG."""
    from mt_lottery.report.figures import save_figure

    written: list[Path] = []
    scores = Scores(results, setting)
    for part in parts:
        question = questions(setting)[part]
        arms = question.compared
        figure = curves(arms, scores) if part == "p7" else dots(arms, scores)
        if figure is not None and part != "p5":
            written += save_figure(figure, folder / f"evidence-{part}")
        for more, draw in MORE_FIGURES.get(part, {}).items():
            if (figure := draw(scores)) is not None:
                written += save_figure(figure, folder / f"evidence-{part}-{more}")
    return written


def _called(arm: str, scores: Scores) -> str:
    """Arm in a figure: its word where it is a single row's."""
    rows = [row for lang in scores.setting.langs for row in scores.rows(arm, lang)]
    if arm.startswith("token-"):
        words = dict.fromkeys(row["words"][0] for row in rows if row.get("words"))
        return f"the row of {', '.join(words)}" if words else arm
    return WORDS.get(arm, arm)


def dots(arms: list[Arm], scores: Scores) -> Any:
    """A line an arm, a panel a language; None where nothing is done."""
    from mt_lottery.report.figures import new_figure, style, whiskers

    names = scores.finished(arms)
    metric = scores.metric()
    langs = [x for x in scores.setting.langs if any(scores.rows(name, x) for name in names)]
    if not langs or metric is None:
        return None
    figure, _ = new_figure(1, len(langs), width=2.4 + 2 * len(langs), height=1 + 0.25 * len(names))
    shown = [
        score for lang in langs for name in names if (score := scores.of(name, [lang], metric))
    ]
    most = max(score.ci95[1] for score in shown)  # one scale for all
    for number, (axes, lang) in enumerate(zip(figure.axes, langs, strict=True)):
        found = [(i, scores.of(name, [lang], metric)) for i, name in enumerate(names)]
        known = [(i, score) for i, score in found if score is not None]
        spread = whiskers([s.score for _, s in known], [s.ci95 for _, s in known])
        look = {**style(0), "linestyle": "none"}
        axes.errorbar([s.score for _, s in known], [i for i, _ in known], xerr=spread, **look)
        called = [_called(name, scores) for name in names] if number == 0 else []
        axes.set_yticks(range(len(names)), called, fontsize=8)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(0, 1.05 * most)
        axes.tick_params(axis="x", labelsize=8)
        axes.set_title(f"English to {lang}", fontsize=9)
        axes.set_xlabel(f"{scores.column(metric)}, raw", fontsize=8)
    return figure
