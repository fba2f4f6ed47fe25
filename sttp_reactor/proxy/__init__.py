"""An STTP proxy: sessions as any server has them, and an answerer that asks other servers.

Requests are balanced, not connections: each goes to the server that is best for it, a read that got lost is asked of
another one, and a write that may have been carried out is never repeated.
"""
