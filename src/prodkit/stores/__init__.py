"""Where policies keep what must outlive a call: adapters for the Protocols beside each policy.

`memory`: for one process and its life. `sql`: in the service's database (extra `sql`). `redis`: for
a fleet, over one connection a process (extra `redis`).
"""
