"""The files of server/deploy against the code: nothing they name may be missing from it."""

from __future__ import annotations

import argparse
import configparser
import hashlib
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.paths import DATA_ENV
from engine.types import Language
from server import config, serve_command
from server.admission import Keys
from server.app import create_app
from server.cli import SUBCOMMANDS
from server.config import Config
from server.metrics import Metrics
from server.runtime import Parts, Runtime
from tests.fakes import ScriptedEngine, ScriptedFrontend

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "server" / "deploy"
DRAIN_S = Config().server.drain_s


def dockerfile() -> str:
    """Return the Dockerfile with its continued lines joined."""
    return (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")


def compose() -> dict[str, Any]:
    """Return the parsed compose file."""
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))


def objects() -> dict[str, dict[str, Any]]:
    """Return the Kubernetes objects by kind."""
    parsed = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    return {item["kind"]: item for item in parsed}


def pod() -> dict[str, Any]:
    """Return the Deployment's pod."""
    return dict(objects()["Deployment"]["spec"]["template"]["spec"])


def unit() -> configparser.SectionProxy:
    """Return the [Service] section; of keys that come twice, the last."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(DEPLOY / "sovits-live.service")
    return parser["Service"]


def image_environment() -> dict[str, str]:
    """Return what the images set."""
    text = " ".join(re.findall(r"^ENV (.*)$", dockerfile(), re.MULTILINE))
    return dict(pair.split("=", 1) for pair in shlex.split(text))


def check_settings(environment: dict[str, str]) -> Config:
    """Read the settings among variables as the server does; an unknown one raises."""
    return config.load(environment={k: v for k, v in environment.items() if k != DATA_ENV})


def paths_of_routes() -> set[str]:
    """Return the paths the server answers."""
    parts = Parts(ScriptedEngine(), lambda info: ScriptedFrontend(), (Language.EN,))
    app = create_app(Runtime(Config(), parts))
    return {resource.canonical for resource in app.router.resources()}


def parse_serve(arguments: list[str]) -> None:
    """Parse a command line as the image's entry point would; argparse exits on what is wrong."""
    assert arguments[0] in SUBCOMMANDS
    parser = argparse.ArgumentParser()
    serve_command.add_arguments(parser)
    parser.parse_args(arguments[1:])


def test_image_listens_where_others_reach_it_and_wants_keys() -> None:
    """Its variables are settings, and together they are a configuration the server takes."""
    environment = image_environment()
    loaded = check_settings(environment)
    assert loaded.server.host == "0.0.0.0"
    assert loaded.server.keys_file and loaded.server.keys_file.startswith("/run/secrets/")
    assert f"EXPOSE {loaded.server.port}" in dockerfile()
    assert f"VOLUME {environment[DATA_ENV]}" in dockerfile()


def test_image_runs_as_a_user_and_says_how_it_is() -> None:
    """Not root; the health check asks a path there is."""
    assert re.search(r"^USER [1-9]\d+$", dockerfile(), re.MULTILINE)
    check = re.search(r"HEALTHCHECK.*http://127\.0\.0\.1:(\d+)(/\w+)", dockerfile())
    assert check and int(check[1]) == Config().server.port
    assert check[2] in paths_of_routes()


def test_builder_gets_what_the_wheel_needs_and_nothing_else() -> None:
    """All packages, the readme and the licence pass .dockerignore; tests and results do not."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    needed = {*project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"], "pyproject.toml"}
    needed |= {project["project"]["readme"], *project["project"]["license-files"]}
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == needed


def test_compose_builds_what_the_dockerfile_has() -> None:
    """Targets exist, paths lead there, commands parse, the drain has time, keys are the image's."""
    parsed = compose()
    targets = set(re.findall(r"^FROM \S+ AS (\S+)$", dockerfile(), re.MULTILINE))
    for service in parsed["services"].values():
        build = service["build"]
        assert build["target"] in targets
        assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(DEPLOY / "Dockerfile")
        assert float(service["stop_grace_period"].rstrip("s")) > DRAIN_S
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        parse_serve(service.get("command", ["serve"]))
        secret = Path(str(image_environment()["SOVITS_SERVER_KEYS_FILE"])).name
        assert service["secrets"] == [secret] and secret in parsed["secrets"]


def test_unit_starts_the_server_and_lets_it_drain() -> None:
    """Its command, its variables, its data folder and its grace period."""
    service = unit()
    program, *arguments = shlex.split(service["ExecStart"])
    assert Path(program).name == "sovits-live"
    parse_serve(arguments)
    name, _, folder = service["Environment"].partition("=")
    assert name == DATA_ENV and folder == f"/var/lib/{service['StateDirectory']}"
    assert float(service["TimeoutStopSec"]) > DRAIN_S
    assert service["DynamicUser"] == "yes"


def test_pod_is_probed_drained_and_unprivileged() -> None:
    """Probes ask paths there are, the grace period covers hook and drain, variables are known."""
    spec = pod()
    (container,) = spec["containers"]
    routes = paths_of_routes()
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in routes
    assert container["ports"][0]["containerPort"] == Config().server.port
    hook_s = float(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert spec["terminationGracePeriodSeconds"] > DRAIN_S + hook_s
    environment = image_environment() | {v["name"]: v["value"] for v in container["env"]}
    keys_file = check_settings(environment).server.keys_file
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert keys_file and str(Path(keys_file).parent) in mounts
    assert environment[DATA_ENV] in mounts
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] == int(
        re.findall(r"^USER (\d+)$", dockerfile(), re.MULTILINE)[0]
    )
    parse_serve(container["args"])
    annotations = objects()["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] in routes


def test_autoscaling_follows_a_metric_the_server_has() -> None:
    """And targets the Deployment and fewer utterances than an engine has slots."""
    scaler = objects()["HorizontalPodAutoscaler"]["spec"]
    (metric,) = scaler["metrics"]
    assert f"\n{metric['pods']['metric']['name']} 0.0" in Metrics().expose().decode()
    assert scaler["scaleTargetRef"]["name"] == objects()["Deployment"]["metadata"]["name"]
    assert float(metric["pods"]["target"]["averageValue"]) < Config().engine.slots


def test_keys_of_the_readme_are_keys(tmp_path: Path) -> None:
    """The lines the README says to type make a file the server reads."""
    readme = (DEPLOY / "README.md").read_text()
    lines = [line for line in readme.splitlines() if line.startswith(("key=", "printf"))]
    (tmp_path / "server" / "deploy").mkdir(parents=True)
    done = subprocess.run(
        ["bash", "-ec", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    key = done.stdout.strip()
    keys = Keys.read(tmp_path / "server" / "deploy" / "keys")
    assert len(key) == 32 and keys.holder(key) == "me"
    assert (
        hashlib.sha256(key.encode()).hexdigest()
        in (tmp_path / "server" / "deploy" / "keys").read_text()
    )


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd on this system")
def test_systemd_knows_every_line_of_the_unit() -> None:
    """Nothing is wrong but that the program is not there."""
    command = ["systemd-analyze", "verify", str(DEPLOY / "sovits-live.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "sovits-live.service" in line]
    assert all("is not executable" in line for line in complaints), done.stderr
