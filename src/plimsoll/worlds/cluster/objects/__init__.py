"""From a fleet and its plan to Kubernetes objects. Pure: plain dicts out, nothing read."""
