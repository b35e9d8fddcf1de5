"""The door for KEDA: the replicas that the policies want, by gRPC, so that HPA ends at them.

May live here: KEDA's interface, the loop that asks the policies, and the reading of gateways'
metrics. May not: rules of scaling (policy/scale), HTTP (the caller hands in who fetches a page).
"""
