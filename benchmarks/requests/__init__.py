"""What the state machine of requests costs, and how it shares places between tenants."""
