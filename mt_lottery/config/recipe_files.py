"""Where the YAML files of recipes, models and data lie: built in, and beside plugins."""

from __future__ import annotations

from pathlib import Path

from mt_lottery import registry
from mt_lottery.errors import ConfigError

REGISTRY_OF = {"recipe": registry.TUNERS, "model": registry.MODELS, "data": registry.CORPORA}
GROUPS = tuple(REGISTRY_OF)


def recipes_folder() -> Path:
    """The folder of built-in recipes: in the installed package, or in the checkout.

    Raises:
        ConfigError: neither is there (a broken installation).
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "recipes", package.parent / "recipes"):
        if (folder / "config.yaml").is_file():
            return folder
    raise ConfigError(f"No recipes at {package / 'recipes'}: the installation is incomplete.")


def search_path() -> list[Path]:
    """Folders of plugins' recipes."""
    folders = []
    for folder in registry.plugin_folders():
        nested = folder / "recipes"
        folders.append(nested if nested.is_dir() else folder)
    return folders


def loose_recipes() -> dict[str, Path]:
    """A plugin's ``NAME.yaml`` beside its Python file is a recipe, without a sub-folder."""
    return {file.stem: file for folder in search_path() for file in sorted(folder.glob("*.yaml"))}


def names_in(group: str) -> list[str]:
    """The names in a group: its YAML files (built in, in plugins' folders), and what needs none."""
    folders = [recipes_folder(), *search_path()]
    files = {file.stem for folder in folders for file in (folder / group).glob("*.yaml")}
    return sorted(files | {*REGISTRY_OF[group].names()})


def refuse_taken_names() -> None:
    """A plugin's YAML named as a built-in one would be ignored in silence."""
    owners = {(g, f.stem): f for g in GROUPS for f in (recipes_folder() / g).glob("*.yaml")}
    for folder in search_path():
        files = [(g, f) for g in GROUPS for f in sorted((folder / g).glob("*.yaml"))]
        for group, file in [*files, *(("recipe", f) for f in sorted(folder.glob("*.yaml")))]:
            owner = owners.setdefault((group, file.stem), file)
            if owner.resolve() != file.resolve():
                raise ConfigError(
                    f"{file}: {group}={file.stem} is taken by {owner}; choose another name."
                )


def recipe_files() -> dict[str, Path]:
    """Every recipe's YAML by its name: the built-in ones, then those of plugins.

    A loose YAML beside a plugin may be none of ours; whoever composes it finds out.
    """
    found: dict[str, Path] = {}
    for folder in (recipes_folder(), *search_path()):
        found |= {file.stem: file for file in sorted((folder / "recipe").glob("*.yaml"))}
    return loose_recipes() | found


def headline(recipe: str) -> str | None:
    """The comment in the first line of a recipe's YAML; None if there is none."""
    file = recipe_files().get(recipe)
    return None if file is None or not file.is_file() else first_comment(file)


def first_comment(file: Path) -> str | None:
    """The comment in the first line of a YAML file; None if there is none."""
    first = file.read_text("utf-8").partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") else None
