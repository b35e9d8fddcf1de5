from __future__ import annotations

from collections.abc import Iterable

import pytest

from plimsoll.worlds.cluster.objects.gateway import gateway_objects
from plimsoll.worlds.cluster.objects.node_models import node_models
from plimsoll.worlds.cluster.objects.rights import operator_rights, rights_objects
from plimsoll.worlds.cluster.objects.site import Manifest, Site
from tests.worlds.cluster.apiserver.kinds import BUILT_IN, INSTALLED
from tests.worlds.cluster.fleets import EVERY
from tests.worlds.cluster.schemas import VERSIONS, problems
from tests.worlds.cluster.sites import EXAMPLES, fleet_text, rendered, site_of

Grant = tuple[str, str, str]  # group, resource, verb
LOCAL = fleet_text(
    "models:\n  - {name: m, context: 2048, storage: {strategy: nodeLocal}, "
    "placement: {pools: [plain]}, "
    "source: 'hf://Qwen/Qwen2.5-3B-Instruct-GGUF/qwen2.5-3b-instruct-q4_k_m.gguf'}\n"
    "pools: [{name: plain, accelerator: none, nodes: {min: 1}, node: {cpu: 8, memory: 64Gi}}]"
)


def grants(manifests: Iterable[Manifest]) -> set[Grant]:
    """Every single right that Roles and ClusterRoles grant."""
    return {
        (group, resource, verb)
        for manifest in manifests
        for rule in manifest.get("rules", ())
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def operator(*namespaces: str) -> list[Manifest]:
    return list(operator_rights(account="operator", namespace="plimsoll", namespaces=namespaces))


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("version", VERSIONS)
def test_an_api_server_accepts_what_is_made(example: str, version: str) -> None:
    for manifest in rights_objects(site_of(example)):
        assert problems(manifest, kubernetes=version) == []


@pytest.mark.parametrize("namespaces", [(), ("a", "b")])
def test_an_api_server_accepts_the_operator_s_rights(namespaces: tuple[str, ...]) -> None:
    for manifest in operator(*namespaces):
        assert problems(manifest) == []


def test_every_model_has_an_account_without_token_and_without_rights() -> None:
    site = site_of("examples/production.yaml")
    made = list(rights_objects(site))
    accounts = {m["metadata"]["name"]: m for m in made if m["kind"] == "ServiceAccount"}
    assert set(accounts) == {workload.name for workload in site.workloads}
    assert all(found["automountServiceAccountToken"] is False for found in accounts.values())
    bound = {s["name"] for m in made for s in m.get("subjects", ())}
    assert not bound & set(accounts)


def test_a_tenant_s_people_look_at_its_namespace_and_change_nothing() -> None:
    made = list(rights_objects(site_of("examples/production.yaml")))
    (binding,) = (found for found in made if found["kind"] == "RoleBinding")
    assert binding["metadata"]["namespace"] == "clinic"
    assert [subject["name"] for subject in binding["subjects"]] == ["plimsoll:tenant:clinic"]
    granted = grants(made)
    assert {verb for _, _, verb in granted} == {"get", "list", "watch"}
    assert {("", "pods", "list"), ("", "pods/log", "get"), ("plimsoll.dev", "fleets", "get")} <= (
        granted
    )
    assert not any(resource in {"secrets", "configmaps"} for _, resource, _ in granted)


def test_a_tenant_without_a_namespace_of_its_own_gets_no_role() -> None:
    for namespace in ("", "namespace: inference, "):
        text = fleet_text(f"tenants:\n  - {{name: t, {namespace}models: ['*']}}")
        assert list(rights_objects(site_of(text))) == []


def test_the_operator_has_no_wildcard_and_no_way_to_more() -> None:
    for _, resource, verb in grants(operator()) | grants(operator("a")):
        assert "*" not in resource + verb
        assert resource not in {"secrets", "pods/exec", "pods/attach", "serviceaccounts/token"}
        assert verb not in {"escalate", "bind", "impersonate", "deletecollection"}


def test_the_operator_never_deletes_a_namespace() -> None:
    assert ("", "namespaces", "delete") not in grants(operator())


def roles_of(site: Site) -> list[Manifest]:
    return [*rights_objects(site), *gateway_objects(site), *node_models(site)]


@pytest.mark.parametrize("fleet", [*EXAMPLES, LOCAL])
@pytest.mark.parametrize("namespaces", [(), ("inference",)])
def test_the_operator_holds_every_right_that_it_grants(
    fleet: str, namespaces: tuple[str, ...]
) -> None:
    """Otherwise the API server refuses the Role: nobody grants what he does not hold."""
    granted = grants(roles_of(site_of(fleet)))
    assert granted <= grants(operator(*namespaces))


PLURALS = {(kind.api_version, kind.kind): kind.plural for kind in (*BUILT_IN, *INSTALLED)}


@pytest.mark.parametrize("fleet", EVERY)
def test_the_operator_may_keep_every_object_of_every_fleet(fleet: str) -> None:
    held = grants(operator())
    for manifest in rendered(EVERY[fleet]).manifests:
        group = manifest["apiVersion"].rpartition("/")[0]
        plural = PLURALS[manifest["apiVersion"], manifest["kind"]]
        verbs = {"get", "list", "watch", "create", "patch", "delete"}
        if plural == "namespaces":
            verbs.remove("delete")
        assert {(group, plural, verb) for verb in verbs} <= held


def test_bound_to_namespaces_the_operator_has_no_right_over_the_cluster() -> None:
    made = operator("b", "a")
    assert {found["kind"] for found in made} == {"Role", "RoleBinding"}
    assert [found["metadata"]["namespace"] for found in made[::2]] == ["a", "b", "plimsoll"]
    assert not any(resource in {"nodes", "namespaces"} for _, resource, _ in grants(made))
