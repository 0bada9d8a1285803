"""The seven questions, and the arms that answer each."""

from __future__ import annotations

from dataclasses import dataclass

from evidence_parts.cells import Arm, Cell, Setting, cells_of

NONE = Arm("none", "none")
KS = Arm("ks_lottery", "ks_lottery")
EMBED = Arm("embed", "embed")  # it finds the probe of KS: the two are one training
ONE = Arm("one_row", "one_row")
PROMPT = Arm("prompt_rows", "prompt_rows")
GRADIENT = Arm("gradient", "grad_lottery")
FLORES_DEV = {"data.dev": "flores101", "data.dev_path": "data/flores101_dataset"}
PAIRS = (32, 100, 320, 1000, 1997)
PROBES = [(lr, epochs) for lr in ("1e-3", "3e-3", "1e-2") for epochs in (2, 4)]
TURNED = ("probe-1e-3-2", "probe-3e-3-2")
TOKENS = 8  # of the plain prompt, beside line break and bos


@dataclass(frozen=True)
class Question:
    """A part.

    Attributes:
        asks: the question.
        arms: what answers it, as tables list it.
        against: the arm that the others are compared with; empty where no table compares.
    """

    asks: str
    arms: list[Arm]
    against: str = ""

    @property
    def compared(self) -> list[Arm]:
        """The arms whose scores are compared: those of ``ticket-…`` are of a few sentences."""
        return [arm for arm in self.arms if arm.recipe and not arm.name.startswith("ticket-")]


def _selected(rows: int) -> list[Arm]:
    """18 or 100 rows by each measure, tuned; then copied from the probe."""
    at = {"tuner.tickets": str(rows)}
    more, end = ({"late": 1}, "") if rows == 18 else ({"late": 2, "langs": 2}, f"-{rows}")
    tuned = [
        KS if rows == 18 else Arm(f"ks_lottery{end}", "ks_lottery", at, **more),
        Arm(f"cos{end}", "ks_lottery", {**at, "tuner.selector": "cos"}, **more),
        GRADIENT if rows == 18 else Arm(f"gradient{end}", "grad_lottery", at, **more),
        *(Arm(f"{name}{end}", name, at, **more)
          for name in ("frequency", "frequency_matched", "random_seen")),
    ]  # fmt: skip
    copied = [
        Arm(f"{way}{end}-copied", "ks_transfer", {**at, "tuner.selector": way}, **more)
        for way in ("ks", "cos", "gradient", "frequency")
    ]
    return tuned + copied


def _template_rows() -> list[Arm]:
    """The most changed rows of the template, 1 or 8; 18 outside it, and 18 as frequent there."""
    asked = {"template-1": "template:1", "template-8": "template:8", "outside-18": "outside:18"}
    matched = {"tuner.tickets": "18", "tuner.outside_prompt": "true"}
    return [
        *(Arm(name, "ks_lottery", rows=rows, of=("ks_lottery",), late=1)
          for name, rows in asked.items()),
        Arm("matched-outside", "frequency_matched", matched, late=1),
    ]  # fmt: skip


def _probes(setting: Setting) -> list[Arm]:
    """Probes of other learning rates and lengths, scored on Flores-101 dev.

    18 rows copied from each, and the whole table, which is the same training; and of two of them
    the 18 rows once more, with the line break's where it was not, and without it where it was.
    """
    dev = {
        "data.test": "files",
        "data.test_path": None,
        "data.test_source": "data/flores101_dataset/dev/eng.dev",
        "data.test_target": "data/flores101_dataset/dev/{flores}.dev",
        "data.test_pairs": str(setting.few(200)),
    }
    arms = [
        Arm(f"{name}-{lr}-{epochs}", recipe,
            {**dev, f"{section}.lr": lr, f"{section}.epochs": str(epochs)}, late=2, langs=4)
        for name, recipe, section in (("probe", "ks_transfer", "probe"),
                                      ("whole", "embed", "train"))
        for lr, epochs in PROBES
    ]  # fmt: skip
    turned = [
        Arm(f"{arm.name}-turned", arm.recipe, arm.settings, rows="turned:18", of=(arm.name,),
            late=3, langs=4)
        for arm in arms
        if arm.name in TURNED
    ]  # fmt: skip
    return arms + turned


def _prompts(setting: Setting) -> list[Arm]:
    """Single rows; tickets of other templates; four wordings at once."""
    tokens = [
        Arm(f"token-{place}", "ks_lottery", rows=f"token:{place}", of=("ks_lottery",), late=2,
            langs=2)
        for place in range(1, TOKENS + 1)
    ]  # fmt: skip
    tickets = [
        Arm(f"ticket-{template}", "ks_transfer",
            {"data.template": template, "data.test_pairs": str(setting.few(8))}, late=2)
        for template in ("alpaca", "labels")
    ]  # fmt: skip
    four = [
        Arm(f"four-{name}", recipe, {"data.template": "four"}, late=2, langs=2)
        for name, recipe in (("ks", "ks_lottery"), ("gradient", "grad_lottery"),
                             ("newline", "one_row"))
    ]  # fmt: skip
    few = ("--sentences", str(setting.few(200)))
    where = [
        Arm(f"where-{of}", analysis="explain", of=(of,), late=3, langs=2,
            options=(*few, "--controls", "1", "--arms", "bos,instruction,source,target"))
        for of in ("ks_lottery", "four-ks")
    ]  # fmt: skip
    other = [
        Arm(f"{of}-asked-{template}", analysis="explain", of=(of,), late=3, langs=2,
            options=(*few, "--controls", "1", "--arms", "instruction", "--template", template))
        for of in ("ks_lottery", "four-ks", "four-gradient")
        for template in ("plain", "alpaca", "labels", "ask", "say")
        if (of, template) != ("ks_lottery", "plain")
    ]  # fmt: skip
    bos = Arm("one_row-bos", "one_row", {"tuner.token": "bos"}, late=1)
    return [NONE, KS, ONE, bos, PROMPT, *tokens, *_template_rows(), *tickets, *four, *where, *other]


def _amounts(setting: Setting) -> list[Arm]:
    """Of text; dev pairs are from Flores-101, so that all of NTREX-128 can be trained on."""
    scaled = [max(4, round(pairs * setting.train_pairs / 400)) for pairs in PAIRS]
    return [
        Arm(f"{name}-{pairs}-pairs", recipe,
            {**FLORES_DEV, "data.train_pairs": str(pairs)}, late=3, langs=2)
        for pairs in scaled
        for name, recipe in (("one_row", "one_row"), ("gradient", "grad_lottery"),
                             ("ks_lottery", "ks_lottery"), ("lora", "lora"), ("embed", "embed"))
    ]  # fmt: skip


def questions(setting: Setting) -> dict[str, Question]:
    """Part → its question."""
    first = [NONE, Arm("first_line_stop", "first_line_stop"), Arm("few_shot", "few_shot"),
             KS, EMBED, ONE, PROMPT, Arm("lora", "lora"), Arm("full", "full", late=3)]  # fmt: skip
    stopping = [
        NONE, first[1], Arm("forced_prefix", "forced_prefix", late=1),
        Arm("eos_bias", "eos_bias", late=1), KS, ONE, PROMPT, GRADIENT, EMBED, *first[-2:],
    ]  # fmt: skip
    return {
        "p1": Question("Do 18 rows keep what the whole table gains, and how far are they below "
                       "LoRA?", first, "embed"),
        "p2": Question("Does the KS test choose better rows than a word count, than cosine, than "
                       "one backward pass?",
                       [*_selected(18), *_template_rows(), *_selected(100)], "ks_lottery"),
        "p3": Question("How much of each gain is stopping?", stopping, "none"),
        "p4": Question("What does a better probe buy?", _probes(setting), "probe-1e-3-2"),
        "p5": Question("Is the certificate kept?", [
            Arm("certificate", analysis="certify", of=("ks_lottery",), late=2)
        ]),
        "p6": Question("Is it the prompt's ticket, not the language's?", _prompts(setting),
                       "ks_lottery"),
        "p7": Question("How does it scale with the amount of text?", _amounts(setting)),
    }  # fmt: skip


def plan(parts: list[str], setting: Setting) -> list[Cell]:
    """The cells of some parts; what several parts need belongs to the first of all that has it."""
    owned: dict[tuple[str, str, int], Cell] = {}
    wanted: dict[tuple[str, str, int], Cell] = {}
    for part, question in questions(setting).items():
        for cell in cells_of(part, question.arms, setting):
            own = owned.setdefault(cell.key, cell)
            if part in parts:
                wanted[cell.key] = own
    return [*wanted.values()]
