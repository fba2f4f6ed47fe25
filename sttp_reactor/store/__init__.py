"""Where files live. Every call here blocks, so only worker threads make them (PROTOCOL.md section 4)."""
