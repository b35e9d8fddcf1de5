"""What keeps a cluster at its Fleet objects: one level-triggered loop that acts on what it sees.

May live here: adding up Fleet objects, the work queue, leader election, one pass over one Fleet,
its status. May not: what should run (plan/), what to do next (policy/), what objects look like
(objects/), how the API is spoken (client.py).
"""
