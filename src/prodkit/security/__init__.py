"""Who calls, what they may do, and what nobody may read: tokens, access, passwords, encryption.

`authorization` needs nothing but the core; `tokens`, `passwords` and `encryption` need the extra
`auth`, each imported by its own path.
"""
