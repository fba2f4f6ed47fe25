"""Every number the package lives by, with its unit and the reason for it.

What an operator may change has its default here and its row in the configuration's table. The rest are
properties of the protocol or of the design; they are here so that each is written once.
"""

from __future__ import annotations

from typing import Final

# -- The protocol (PROTOCOL.md section 1) --

MAX_CONTENTS_CHARACTERS: Final = 160
MAX_NAME_CHARACTERS: Final = 32
# Each segment costs a look-up, and a CREATE one directory: 4,000 in a line, as its length would allow, take a worker
# 25 ms and leave 4,000 directories behind. Trees that people make are ten deep; 64 forgive a generated one.
MAX_PATH_SEGMENTS: Final = 64

# The line with its line end. 160 characters of four bytes and a deep path fit several times over; HTTP servers
# settle on the same figure for a request line (nginx, Apache and h11 accept 8 to 64 KiB).
MAX_LINE_BYTES: Final = 8192

# A line must hold the shortest useful request of each kind; 64 bytes hold an action, a file name of 32 characters and
# a few words. More than the protocol's 8,192 serves deep paths; every connection may buffer that much, so that ten
# thousand of them at the upper bound are 10 GB, and nobody has a use for more.
SHORTEST_MAX_LINE: Final = 64
LONGEST_MAX_LINE: Final = 1_048_576

DEFAULT_PORT: Final = 8080
DEFAULT_TLS_PORT: Final = 8443
DEFAULT_HTTP_PORT: Final = 8081

# -- Time (seconds). A peer is closed when it keeps us waiting for longer. --

IDLE_TIMEOUT: Final = 60.0
# From a request's first byte to its line end. One line is one packet; ten seconds forgive a lost one or two.
REQUEST_TIMEOUT: Final = 10.0
WRITE_TIMEOUT: Final = 30.0
# A TLS handshake, from the accepted connection to its end: two round trips, and a lost packet or two as above.
HANDSHAKE_TIMEOUT: Final = 10.0
SHUTDOWN_TIMEOUT: Final = 10.0
# After our last byte we read and drop what the peer still sends, for this long: closing over unread bytes would
# make the kernel reset the connection and take the reply with it (nginx calls this lingering_close).
LINGER_SECONDS: Final = 2.0
# Out of descriptors: accepting stops for this long (asyncio waits 1 s, too).
ACCEPT_PAUSE_SECONDS: Final = 1.0

# A limit that is hit all the time is logged this often.
LOG_AGAIN_SECONDS: Final = 60.0
# Causes of one kind that are told apart in such a minute. More than a few things seldom break at once; a client that
# makes up directories must not make up lines.
LOG_AGAIN_CAUSES: Final = 16

# Of a log whose reader has stopped, this much waits for it to go on: more than a report on a busy server has. At the
# end the reader gets so long to take it, and whoever stops the server waits for that.
LOG_WAITING_BYTES: Final = 1 << 20
LOG_CLOSE_SECONDS: Final = 1.0

# -- Metrics --

# What one process can publish for the others: some 200 samples of 100 bytes, and ten times as much to grow.
METRICS_BYTES: Final = 1 << 18
# How old what others have published may be. It is also how often the reactor's lag is looked at.
METRICS_SECONDS: Final = 1.0
# Seconds from asking the store to its answer: by factors of 2 to 2.5, from what a busy loop takes to what a sick disk
# does.
DURATION_BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# A request that has waited this long for the disk is worth a line at the level debug; and this long, a warning.
SLOW_SECONDS: Final = 0.1
VERY_SLOW_SECONDS: Final = 2.0
# Seconds by which a timer of the reactor comes late: from nothing to worth noticing, to what clients complain about.
LAG_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

# -- The reactor --

# One recv. Large enough for hundreds of pipelined requests, small enough that what one connection can ask for in a
# turn, and so the time the others wait, stays bounded.
READ_BYTES: Final = 8192
# The same, for a connection that has never had more to say: a bytes object of this size is the largest that CPython's
# own allocator makes. Anything larger is malloc'ed, then cut to what has come: 0.17 us a read.
FIRST_READ_BYTES: Final = 479
# The kernel clips this to net.core.somaxconn. A burst of a few thousand connects should not meet a full queue.
BACKLOG: Final = 4096
# Ready sockets served in a turn, where the selector can be told; the kernel gives the others first the next time.
# Python allocates room for as many events at each wait, so asking for all of 10,000 connections would cost every turn.
EVENTS_PER_TURN: Final = 1024
# Turns for which work for other threads may wait for a moment when no socket is ready.
LULL_TURNS: Final = 6
# And seconds: peers that send without end leave no such moment, and make the turns long.
LULL_SECONDS: Final = 0.003
# Accepted per listener and turn, so that a flood of connects does not starve those already connected.
ACCEPTS_PER_TURN: Final = 16
# Steps of TLS handshakes per turn. The dear one signs: 0.2 ms with a key on P-256, 0.5 ms with RSA 2048, 4 ms with RSA
# 4096, and to verify a client's certificate takes 0.5 ms. A burst of connects must not keep those already connected
# waiting for longer than some of these.
HANDSHAKES_PER_TURN: Final = 4
# TLS records of one connection that are decrypted in a turn. A read of ours brings at most 372, and each can be a
# KeyUpdate of TLS 1.3, which makes OpenSSL derive keys and answer: 20 us.
RECORDS_PER_TURN: Final = 32
# Records without data (KeyUpdates, session tickets, refused renegotiations) that a peer may have sent more than one for
# every RECORDS_PER_EMPTY with data. An honest one changes its keys after some 16 million records.
EMPTY_RECORDS: Final = 32
RECORDS_PER_EMPTY: Final = 16
# Water marks of a connection's write buffer. Above the high one it is neither read nor parsed; below the low one it
# goes on. A snippet's reply has at most some 9 KB, so high is a few replies; asyncio uses the same pair.
HIGH_WATER_BYTES: Final = 65536
LOW_WATER_BYTES: Final = 16384

# -- Sessions --

MAX_CONNECTIONS: Final = 10_000
# Requests of one connection that may wait for the disk at once.
REQUESTS_IN_FLIGHT: Final = 128
# Requests parsed per connection and turn, cached answers included; then it queues behind the others. Of all connections
# together, about so many: 2 ms. Who shares a turn with many is given less of it, but never nothing.
REQUESTS_PER_TURN: Final = 32
REQUESTS_OF_ALL_PER_TURN: Final = 128
LEAST_REQUESTS_PER_TURN: Final = 2

# Pipelined requests answered in one go from the cache. With replies of at most some 9 KB, and usually 50 bytes, this is
# what one chunk can add to a write buffer that nobody reads.
CHUNK_LINES: Final = 512

# Bytes that all peers together have asked for and not read: a thousand who read nothing at all, with 64 KiB each in
# their write buffers, or ten LISTs of 200,000 names. Beyond it no LIST is begun, and those who have been owed something
# for so long (seconds) are cut, the largest first: enough to read a megabyte with 2 Mbit/s.
UNSENT_BYTES: Final = 64 << 20
UNSENT_PATIENCE_SECONDS: Final = 5.0
# A reply that is longer is written piece by piece, each when the connection has room: what several peers have asked for
# is not copied for each of them.
PIECE_BYTES: Final = 65536

# -- Disk workers --

DISK_THREADS: Final = 4
# As many of them again, for LISTs. Two, so that one directory that hangs does not stop the LISTs of all others.
LIST_THREADS: Final = 2
# How long a thread may keep the interpreter while others wait. With CPython's own 5 ms the loop waits that long at
# every system call while a LIST of many names computes, and a worker at every file while the loop is flooded: uncached
# SHOWs beside 20 peers that pipeline without end had a 99th percentile of 45 ms with 1 ms, and have 18 ms with this.
SWITCH_SECONDS: Final = 0.0003
# Jobs whose order is settled while those of several connections wait; the rest are still in lines, one for each
# connection. Whoever comes new waits for these: at 0.2 ms for a SHOW of the deepest path, 3 ms.
NEXT_JOBS: Final = 16
# Jobs one worker takes before it hands back what it has: results should not wait for long for the next ones.
BATCH_JOBS: Final = 64
# Writes that share one sync. More wait for the next one.
COMMIT_WRITES: Final = 256
# Directories that the CREATEs of one commit may have to make, give or take those of the last one: each takes 0.3 ms on
# ext4, and all who share the sync wait for all of them.
COMMIT_DIRECTORIES: Final = 128
# A job that has waited this long means that the worker in front of it is stuck on a slow disk: another is woken. Less
# would wake them for nothing (on a quick disk one worker does more than four, who fight over the interpreter's lock).
STUCK_SECONDS: Final = 0.002
# While nothing moves, that is looked at less and less often, down to this: a read that hangs for an hour would else
# have the loop turn 470 times a second.
STUCK_MOST_SECONDS: Final = 0.25
# With no write for this long the journal is emptied, so that there is little to recover.
CHECKPOINT_SECONDS: Final = 5.0
# Jobs that wait for a worker. At the bound sessions stop parsing; nothing is refused and nothing grows.
QUEUED_JOBS: Final = 4096
# Directories that wait to be read for LISTs, or are being read; whoever asks for one that waits already shares it. Few,
# because each may bring megabytes, all of which may come at once.
QUEUED_LISTS: Final = 16

# -- The cache (published defaults, PROTOCOL.md section 6) --

CACHE_FILES: Final = 100
CACHE_BYTES: Final = 10_485_760
CACHE_EXPIRATION: Final = 300.0
# Entries dropped per slice of the background sweep: a slice takes well under a millisecond.
SWEEP_SLICE: Final = 500
SWEEP_SECONDS: Final = 1.0
# And per request, where the hot path finds some at the front of the queue.
SWEEP_GLANCE: Final = 8

# -- Rules of access --

# Names in `who`, of all rules together. Each is compared with every new connection's peer, in 0.1 us or so.
MAX_ACCESS_ENTRIES: Final = 1000

# -- Several processes --

MAX_PROCESSES: Final = 64
# Changes a process may fall behind the others before it forgets its whole cache instead. 64 KiB of memory for each.
TEAM_RING_ENTRIES: Final = 4096
# A process that dies within this time of its start is not started again at once: something is wrong with all of them.
RESTART_PAUSE_SECONDS: Final = 1.0
# How often a process shows that it turns, and how often its parent looks.
BEAT_SECONDS: Final = 0.5
WATCH_SECONDS: Final = 1.0
# A process that has not turned for so long hangs, and is replaced: every second client of two processes waits for it.
# What a turn can take lawfully is a reload's certificates and log files, some 50 ms of a flood, or seconds on a machine
# that swaps; three times as much is still less than most clients wait. systemd's watchdog, with the 30 s of our unit,
# sees a replacement before it would start all of us anew.
HANG_SECONDS: Final = 10.0
# While children start, their parent looks so often whether they have.
START_LOOK_SECONDS: Final = 0.01
# From one reload to the next. Signals that come meanwhile make one, at the end of it: a reload takes some 10 ms, in
# which a server alone answers nobody.
RELOAD_PAUSE_SECONDS: Final = 0.2
# A process that has not answered its parent by then is stuck. Opening a log file or reading a certificate is all that
# an order asks for.
CONTROL_SECONDS: Final = 5.0
