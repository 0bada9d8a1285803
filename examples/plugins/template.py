"""An arrow between the two sentences: data.template=arrow."""

from mt_lottery.plugin import LanguagePair, register_template


@register_template("arrow")
class Arrow:
    """The source after its language's name, and an arrow to the target language."""

    def prompt(self, source: str, pair: LanguagePair) -> str:
        """Everything before the translation."""
        return f"{pair.source.name}: {source} → {pair.target.name}:"

    def target(self, target: str) -> str:
        """The translation as it follows the prompt."""
        return " " + target
