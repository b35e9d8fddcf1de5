"""The objects that are rendered for KEDA are understood here, and give HPA what it needs."""

from plimsoll.scaler import interface, metric
from plimsoll.scaler.models import ModelKey
from plimsoll.scaler.service import key_of
from tests.scaler.test_metric import hpa
from tests.worlds.cluster.objects.signals import signal_site
from tests.worlds.cluster.objects.test_scaling import behavior, scaled


def test_a_rendered_trigger_names_its_model():
    (trigger,) = scaled(scaler="scaler:9443", scaler_secret="scaler-tls")["triggers"]
    ref = interface.ScaledObjectRef(
        name="chat", namespace="elsewhere", scalerMetadata=trigger["metadata"]
    )
    site = signal_site(scaler="scaler:9443")
    assert key_of(ref) == ModelKey(
        namespace=site.namespace, fleet=site.fleet.name, model=trigger["metadata"]["model"]
    )
    assert trigger["metricType"] == "AverageValue"


def test_the_rendered_tolerance_takes_hpa_to_the_very_number():
    rules = behavior(scaler="scaler:9443")
    for way, wanted in (("scaleUp", 12), ("scaleDown", 99)):
        tolerance = float(rules[way]["tolerance"])
        current = wanted - 1 if way == "scaleUp" else wanted + 1
        assert hpa(current, metric.value(wanted, current), tolerance=tolerance) == wanted
