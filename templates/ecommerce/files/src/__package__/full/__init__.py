"""`demo-full`: the shop on real engines, a process per service, behind nginx."""
