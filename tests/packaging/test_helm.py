"""The chart, rendered by Helm's own engine and held to the API's schemas; no cluster is there to take it."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from tests.fixtures.served import run

HELM = Path(__file__).resolve().parents[2] / "helm"
CHART = HELM / "ikewarden"
EXAMPLES = {
    path.stem: yaml.safe_load(path.read_text())
    for path in sorted((HELM / "examples").glob("*.yaml"))
}
# The oldest that Chart.yaml lets in, one between, and the newest that there is a schema of.
VERSIONS = ("1.27", "1.31", kubernetes_validate.latest_version())
# Of the Prometheus operator: not the API's own.
_FOREIGN = {"ServiceMonitor", "PrometheusRule"}

Document = dict[str, Any]


def _rendered(values: Document, *, upgrade: bool = False) -> dict[str, str]:
    with helm_python.Chart.load(CHART) as chart:
        return chart.render(
            values, name="pki", namespace="keys", is_install=not upgrade, is_upgrade=upgrade
        )


def _objects(values: Document) -> list[Document]:
    found: list[Document] = []
    for name, text in _rendered(values).items():
        if name.endswith(".yaml"):
            found += [each for each in yaml.safe_load_all(text) if each]
    return found


def _pods(objects: list[Document]) -> Iterator[tuple[str, Document]]:
    for each in objects:
        if each["kind"] in {"Deployment", "Job"}:
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]


@pytest.fixture(params=EXAMPLES)
def values(request: pytest.FixtureRequest) -> Document:
    """Each of the examples."""
    found: Document = copy.deepcopy(EXAMPLES[request.param])
    return found


def test_helm_finds_nothing_wrong(values: Document) -> None:
    report = helm_python.lint(CHART, values, strict=True)
    assert report["errors"] == []
    assert [each for each in report["messages"] if each["severity"] > 1] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_what_the_api_takes(values: Document, version: str) -> None:
    kinds = set()
    for each in _objects(values):
        kinds.add(each["kind"])
        if each["kind"] not in _FOREIGN:
            kubernetes_validate.validate(each, version, strict=True)
        assert each["metadata"]["labels"]["app.kubernetes.io/instance"] == "pki"
    assert {"Deployment", "Service", "Job", "ServiceAccount"} <= kinds


def test_the_schema_sees_what_is_wrong(values: Document) -> None:
    """A judge that takes everything would be none."""
    deployment = next(each for each in _objects(values) if each["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)


def test_pods_are_restricted(values: Document) -> None:
    """The rules of the Pod Security Standard `restricted`, and a root that nobody writes to."""
    pods = dict(_pods(_objects(values)))
    assert {name.removeprefix("pki-ikewarden-") for name in pods} == {
        "api",
        "validation",
        "scheduler",
        "migrate",
    }
    for name, pod in pods.items():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] == 10001, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), name
        for volume in pod["volumes"]:
            assert not set(volume) & {"hostPath", "nfs"}, name
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert container["resources"]["limits"]["memory"], name


def test_from_outside_the_service_sees_who_connects(values: Document) -> None:
    """Or ten tokens that somebody mistyped lock the console for all who come through the same node."""
    kinds = {}
    for each in _objects(values):
        if each["kind"] == "Service":
            kinds[each["spec"]["type"]] = each["spec"].get("externalTrafficPolicy")
    assert kinds
    assert all(
        policy == (None if kind == "ClusterIP" else "Local") for kind, policy in kinds.items()
    )


def test_what_is_in_the_environment_are_settings_and_no_secrets(
    values: Document, tmp_path: Path
) -> None:
    for name, pod in _pods(_objects(values)):
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            environ = {each["name"]: each["value"] for each in container["env"]}
            assert len(environ) == len(container["env"]), name
            (tmp_path / "ikewarden.toml").write_text("")
            done = run("check-config", tmp_path / "ikewarden.toml", environ=environ)
            assert (done.code, done.out) == (0, "ok\n"), done.err


def test_init_and_the_service_agree(values: Document, tmp_path: Path) -> None:
    """What init is told stands in the environment of the service, too; the engine's tables are settings."""
    objects = _objects(values)
    for name, pod in _pods(objects):
        for container in pod.get("initContainers", []):
            environ = {each["name"]: each["value"] for each in container["env"]}
            names = [each[7:] for each in container["args"] if each.startswith("--name=")]
            assert environ["IKEWARDEN_API__NAMES"] == ",".join(names), name
            assert f"--validation-url={environ['IKEWARDEN_VALIDATION__URL']}" in container["args"]
            known = run("init", "--help").out
            for option in container["args"][1:]:
                assert option.partition("=")[0] in known, option
    transit = [each for each in objects if each["kind"] == "ConfigMap"]
    assert len(transit) == bool(values.get("vault"))
    for each in transit:
        (tmp_path / "ikewarden.toml").write_text(each["data"]["transit.toml"])
        assert run("check-config", tmp_path / "ikewarden.toml").out == "ok\n"


def test_ports_and_selectors_meet(values: Document) -> None:
    objects = _objects(values)
    deployments = {
        each["metadata"]["name"]: each["spec"]["template"]
        for each in objects
        if each["kind"] == "Deployment"
    }
    for service in (each for each in objects if each["kind"] == "Service"):
        template = deployments[service["metadata"]["name"]]
        selector = service["spec"]["selector"].items()
        assert selector <= template["metadata"]["labels"].items()
        offered = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= offered


def test_alert_rules_arrive_as_they_are() -> None:
    """Also what in them is a template of Prometheus' and looks like one of Helm's."""
    given = EXAMPLES["large"]["metrics"]["prometheusRule"]["rules"]
    assert "{{ $labels" in given
    (rule,) = [each for each in _objects(EXAMPLES["large"]) if each["kind"] == "PrometheusRule"]
    assert rule["spec"]["groups"] == yaml.safe_load(given)["groups"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("validation.url", "https://crl.example.com"),  # CRLs are plain HTTP
        ("validation.url", ""),
        ("database.url", "postgresql://ikewarden:secret@db/ikewarden"),  # a password
        ("database.url", "sqlite:///ikewarden.db"),
        ("passphraseSecret.name", ""),
        ("api.replicas", 0),
        ("api.replica", 2),  # not a value
        ("networkpolicy", {}),
        ("image.pullPolicy", "Sometimes"),
        ("vault.url", "http://bao.example.com"),
        ("settings", {"logs": "json"}),
    ],
)
def test_values_that_make_no_sense_are_refused(path: str, value: object) -> None:
    values = copy.deepcopy(EXAMPLES["small"])
    *above, last = path.split(".")
    place = values
    for each in above:
        place = place.setdefault(each, {})
    place[last] = value
    with helm_python.Chart.load(CHART) as chart, pytest.raises(helm_python.HelmError):
        chart.validate_schema(values)


def test_without_what_must_be_said_nothing_is_rendered() -> None:
    with helm_python.Chart.load(CHART) as chart, pytest.raises(helm_python.HelmError):
        chart.validate_schema({})


def test_the_schema_knows_every_value() -> None:
    """And no other: what is renamed in one place is missing in the other."""
    schema = json.loads((CHART / "values.schema.json").read_text())

    def compare(values: Document, node: Document, path: str) -> None:
        if node.get("additionalProperties") is not False:
            return
        assert set(values) == set(node["properties"]) - {"global"}, path
        for name, value in values.items():
            if isinstance(value, dict):
                compare(value, node["properties"][name], f"{path}.{name}")

    compare(yaml.safe_load((CHART / "values.yaml").read_text()), schema, "values")


def test_versions_agree() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = (HELM.parent / "pyproject.toml").read_text()
    found = re.search(r'^version = "(.+)"$', project, re.M)
    assert found is not None
    assert chart["appVersion"] == found[1]
    with helm_python.Chart.load(CHART) as loaded:
        assert loaded.version == chart["version"]
