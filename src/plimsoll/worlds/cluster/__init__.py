"""Where it runs: Kubernetes. Objects from a fleet and its plan, and what keeps a cluster at them.

May live here: Kubernetes objects (`objects/`, pure), the one adapter of a Kubernetes client, and
what observes and changes a cluster. May not: other worlds, HTTP surfaces, what should run (plan/),
what to do next (policy/).
"""
