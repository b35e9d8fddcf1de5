"""The life of a request, from its arrival to its end: one state machine, pure, time handed in.

The gateway feeds it real requests, the simulator imagined ones. Events go in as calls, what must
be done comes out as instructions; nothing here waits, sends or reads a clock.
"""
