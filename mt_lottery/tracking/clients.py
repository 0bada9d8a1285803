"""The trackers' own clients, each behind the same calls.

transformers has integrations for these trackers; they are callbacks of its Trainer: they
start their client in the run's own process and wait for it, log the Trainer's arguments
and the model's configuration, and know neither the ticket nor the scores, nor a run that
trains nothing.  So the clients are called here, under the names that the integrations use
(``train/loss``, ``train/learning_rate``).
"""

from __future__ import annotations

import importlib
import json
import netrc
import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from mt_lottery.report.plain import markdown_table, markdown_text
from mt_lottery.tracking.reachable import require

Start = dict[str, Any]
Report = dict[str, Any]


class Client(Protocol):
    """A tracker's client, made from what :func:`mt_lottery.tracking.remote.start_of` gives."""

    def log(self, step: int, values: dict[str, float]) -> None:
        """Numbers of one optimizer step."""

    def end(self, report: Report | None) -> list[str]:
        """Log the report (None: the run failed) and end; gives lines for the user."""


def _module(name: str) -> Any:
    return importlib.import_module(name)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def _markdown(columns: list[str], rows: list[list[Any]]) -> str:
    """A table for a tracker that shows Markdown."""
    # a row may hold anything: a translation, a plugin's setting
    lines = [[markdown_text(_shown(value)) for value in line] for line in (columns, *rows)]
    return markdown_table(lines[0], lines[1:])


class CometClient:
    """comet-ml, online or offline; it logs nothing by itself."""

    def __init__(self, start: Start) -> None:
        comet_ml = _module("comet_ml")
        self.folder = start["folder"]
        known = comet_ml.config.get_config()  # the environment, and ~/.comet.config
        asked = os.environ.get("COMET_OFFLINE", "").strip().lower() in ("1", "true", "yes", "on")
        self.offline = bool(start["offline"]) or asked or not known["comet.api_key"]
        self.comet_ml = comet_ml
        if not self.offline:
            require(str(known["comet.url_override"] or "https://www.comet.com"))
        self.before = set(Path(self.folder).glob("*.zip"))
        # the source, the arguments and the output may hold something private
        settings = comet_ml.ExperimentConfig(
            name=start["name"],
            tags=start["tags"],
            offline_directory=self.folder,
            log_code=False,
            log_graph=False,
            parse_args=False,
            log_git_metadata=False,
            log_git_patch=False,
            log_env_details=False,
            display_summary_level=0,
            auto_output_logging=False,
            auto_param_logging=False,
            auto_metric_logging=False,
            auto_log_co2=False,
        )
        self.experiment = comet_ml.start(
            project_name=start["project"],
            mode="create",
            online=not self.offline,
            experiment_config=settings,
        )
        if not self.offline and isinstance(self.experiment, comet_ml.OfflineExperiment):
            raise RuntimeError("Comet cannot be reached")
        self.experiment.log_parameters(start["parameters"], nested_support=False)
        if start["group"]:
            self.experiment.log_other("group", start["group"])

    def log(self, step: int, values: dict[str, float]) -> None:
        self.experiment.log_metrics(values, step=step)

    def end(self, report: Report | None) -> list[str]:
        experiment = self.experiment
        if report is None:
            experiment.add_tags(["failed"])
        else:
            experiment.log_metrics(report["numbers"])
            for name, text in report["texts"].items():
                experiment.log_other(name, text)
            for name, (columns, rows) in report["tables"].items():
                experiment.log_table(f"{name}.csv", tabular_data=rows, headers=columns)
            for row in report["tables"].get("translations", ([], []))[1]:
                source, reference, hypothesis = row[:3]
                experiment.log_text(f"{source}\n→ {hypothesis}\n= {reference}")
            for file in report["files"]:
                experiment.log_asset(file, file_name=Path(file).name)
            self._adapter(report["artifact"])
        experiment.end()
        if not self.offline:
            return [f"tracker=comet: {experiment.url}"]
        made = sorted(set(Path(self.folder).glob("*.zip")) - self.before)
        if not made:
            raise RuntimeError(f"no offline archive was written in {self.folder}")
        return [f"tracker=comet: offline; to upload: comet upload {shlex.quote(str(made[-1]))}"]

    def _adapter(self, folder: str | None) -> None:
        if folder is None:
            return
        if self.offline:  # an offline experiment has no artifacts, but it has models
            self.experiment.log_model("adapter", folder)
            return
        artifact = self.comet_ml.Artifact("adapter", "model")
        artifact.add(folder)
        self.experiment.log_artifact(artifact)


class TensorBoardClient:
    """An event file, written by TensorBoard's own writer (without TensorFlow or PyTorch)."""

    def __init__(self, start: Start) -> None:
        writer = _module("tensorboard.summary.writer.event_file_writer")
        self.events = _module("tensorboard.compat.proto.event_pb2")
        self.scalars = _module("tensorboard.plugins.scalar.summary_v2")
        self.texts = _module("tensorboard.plugins.text.summary_v2")
        hparams = _module("tensorboard.plugins.hparams.summary_v2")
        self.folder = start["folder"]
        self.writer = writer.EventFileWriter(self.folder)
        rows = [[key, str(value)] for key, value in start["parameters"].items()]
        self._text("config", _markdown(["setting", "value"], rows))
        kinds = (bool, int, float, str)
        simple = {k: v for k, v in start["parameters"].items() if isinstance(v, kinds)}
        self._write(hparams.hparams_pb(simple, trial_id=start["name"]), 0)

    def _write(self, summary: Any, step: int) -> None:
        event = self.events.Event(wall_time=time.time(), step=step, summary=summary)
        self.writer.add_event(event)

    def _text(self, name: str, text: str) -> None:
        self._write(self.texts.text_pb(name, text), 0)

    def log(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._write(self.scalars.scalar_pb(name, value), step)

    def end(self, report: Report | None) -> list[str]:
        if report is not None:
            self.log(0, report["numbers"])
            rows = [[key, text] for key, text in report["texts"].items()]
            self._text("record", _markdown(["name", "value"], rows))
            for name, (columns, lines) in report["tables"].items():
                self._text(name, _markdown(columns, lines))
        self.writer.close()
        return [f"tracker=tensorboard: tensorboard --logdir {shlex.quote(self.folder)}"]


class WandbClient:
    """wandb, online or offline; it reads neither arguments nor output nor source."""

    def __init__(self, start: Start) -> None:
        for place in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_ARTIFACT_DIR"):
            os.environ.setdefault(place, start["folder"])  # not the user's home
        self.wandb = _module("wandb")
        self.offline = bool(start["offline"]) or not self._key()
        mode = "offline" if self.offline else os.environ.get("WANDB_MODE")
        self.offline = mode == "offline"
        if not self.offline and mode != "disabled":
            require(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai")
        settings = self.wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,
            save_code=False,
            silent=True,
            init_timeout=max(1.0, 0.8 * start["deadline"]),
            x_disable_meta=True,
            x_disable_stats=True,
        )
        self.run = self.wandb.init(
            project=start["project"],
            group=start["group"],
            name=start["name"],
            tags=start["tags"],
            config=start["parameters"],
            dir=start["folder"],
            mode=mode,
            settings=settings,
        )

    @staticmethod
    def _key() -> bool:
        if os.environ.get("WANDB_API_KEY"):
            return True
        try:
            return netrc.netrc().authenticators("api.wandb.ai") is not None
        except (OSError, netrc.NetrcParseError):
            return False

    def log(self, step: int, values: dict[str, float]) -> None:
        self.run.log(values, step=step)

    def end(self, report: Report | None) -> list[str]:
        where = str(Path(self.run.dir).parent)
        if report is not None:
            self.run.summary.update(report["numbers"] | report["texts"])
            for name, (columns, rows) in report["tables"].items():
                shown = [[_shown(x) if isinstance(x, bool) else x for x in row] for row in rows]
                table = self.wandb.Table(columns=columns, data=shown, allow_mixed_types=True)
                self.run.log({name: table})
            for file in report["files"]:
                self.run.save(file, base_path=str(Path(file).parent), policy="now")
            if report["artifact"] is not None:
                artifact = self.wandb.Artifact("adapter", type="model")
                artifact.add_dir(report["artifact"])
                self.run.log_artifact(artifact)
        url = self.run.url
        self.run.finish(exit_code=1 if report is None else 0)
        if self.offline:
            return [f"tracker=wandb: offline; to upload: wandb sync {shlex.quote(where)}"]
        return [f"tracker=wandb: {url}"]


class MlflowClient:
    """MLflow's client: a server where one is named, else files in the run directory."""

    def __init__(self, start: Start) -> None:
        given = os.environ.get("MLFLOW_TRACKING_URI")
        self.store = None if given and not start["offline"] else f"{start['folder']}/mlruns"
        if self.store is not None:
            # a database would be migrated first, for seconds; one run's files need none
            os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
        # else it tries for minutes, and says nothing
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(max(1, int(start["deadline"]))))
        uri = given if self.store is None else Path(self.store).as_uri()
        require(str(uri))
        self.client = _module("mlflow").MlflowClient(tracking_uri=uri)
        self.entities = _module("mlflow.entities")
        found = self.client.get_experiment_by_name(start["project"])
        experiment = (
            self.client.create_experiment(start["project"])
            if found is None
            else found.experiment_id
        )
        tags = {"group": start["group"]} if start["group"] else {}
        self.run = self.client.create_run(experiment, run_name=start["name"], tags=tags).info.run_id
        items = start["parameters"].items()
        # a server takes 100 parameters a call, of 6,000 characters
        params = [self.entities.Param(key, str(value)[:6000]) for key, value in items]
        for place in range(0, len(params), 100):
            self.client.log_batch(self.run, params=params[place : place + 100])

    def log(self, step: int, values: dict[str, float]) -> None:
        now = int(time.time() * 1000)
        metrics = [self.entities.Metric(name, x, now, step) for name, x in values.items()]
        self.client.log_batch(self.run, metrics=metrics)

    def end(self, report: Report | None) -> list[str]:
        if report is not None:
            self.log(0, report["numbers"])
            for name, text in report["texts"].items():
                self.client.set_tag(self.run, name, text)
            for name, (columns, rows) in report["tables"].items():
                content = {"columns": columns, "data": rows}  # as MLflow shows tables
                text = json.dumps(content, ensure_ascii=False)
                self.client.log_text(self.run, text, f"{name}.json")
            for file in report["files"]:
                self.client.log_artifact(self.run, file)
            if report["artifact"] is not None:
                self.client.log_artifacts(self.run, report["artifact"], "adapter")
        self.client.set_terminated(self.run, "FAILED" if report is None else "FINISHED")
        if self.store is None:
            return [f"tracker=mlflow: run {self.run}"]
        return [
            "tracker=mlflow: MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri "
            f"{shlex.quote(self.store)}"
        ]


CLIENTS: dict[str, Callable[[Start], Client]] = {
    "comet": CometClient,
    "tensorboard": TensorBoardClient,
    "wandb": WandbClient,
    "mlflow": MlflowClient,
}
