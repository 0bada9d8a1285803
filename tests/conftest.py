"""What every folder of tests may use: tiny random models (see ``tiny.py``)."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

from slurm_cluster import Cluster, NoCluster, missing, started

# a shell's background job ignores Ctrl-C, and so would every test that presses it
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# the same examples in every run of CI; other runs go on looking for new ones. No test is timed:
# a machine may be busy.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("local", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")

_SLOW = re.compile(r"^pytestmark = (\[\s*)?pytest\.mark\.slow", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """``-m "not slow"`` does not even import a module all of whose tests are slow."""
    if config.option.markexpr != "not slow" or collection_path.suffix != ".py":
        return None
    return bool(_SLOW.search(collection_path.read_text("utf-8"))) or None


@pytest.fixture
def registered(tmp_path: Path) -> Iterator[None]:
    """What the test registers, or loads from its folder, is forgotten after it; built-ins stay."""
    from hydra.core.config_store import ConfigStore

    from mt_lottery.registry import REGISTRIES
    from mt_lottery.registry import loading as plugins

    names = {kind: set(r._objects) for kind, r in REGISTRIES.items()}
    folders, modules, path = dict(plugins._plugin_folders), set(sys.modules), list(sys.path)
    noted, sources = list(plugins._registered), list(plugins._plugin_sources)
    repo = ConfigStore.instance().repo
    recipes = dict(repo.get("recipe", {}))
    yield
    for kind, before in names.items():
        # a built-in that was imported meanwhile stays: its module will not register it again
        for name in set(REGISTRIES[kind]._objects) - before - set(REGISTRIES[kind]._builtins):
            REGISTRIES[kind]._forget(name)
    plugins._plugin_folders.clear()
    plugins._plugin_folders.update(folders)
    plugins._registered[:] = noted
    plugins._plugin_sources[:] = sources
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    sys.path[:] = path
    repo["recipe"] = recipes


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of its own for the test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MT_LOTTERY_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def frozen_garbage() -> None:
    """Trainer collects garbage at each start: seconds, with all that pytest holds."""
    import mt_lottery.training.trainer  # noqa: F401

    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """On a busy machine, threads that wait for each other cost more than 16 × 16 products.

    Of a module's fixtures too: what two threads add up differs in its last bits.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[Cluster]:
    """A Slurm of one node, started for this run of the tests."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    with contextlib.ExitStack() as stack:
        try:
            cluster = stack.enter_context(started())
        except NoCluster as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))  # a Slurm that wants cgroups, a container without them
        yield cluster


@pytest.fixture
def slurm(slurm_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The same, where this process submits; empty before and after."""
    monkeypatch.setenv("SLURM_CONF", str(slurm_cluster.config))
    slurm_cluster.empty()
    yield slurm_cluster
    slurm_cluster.empty()
