"""What tools/soak.sh runs: a real sttpd, clients that know every right reply, and a watch on what the server takes.

__main__     the command line, and a soak from its start to its end
model        what files may hold that one connection writes; tests/daemon/test_kill_storm.py has it, too
talk         what a client asks, with the only right replies; no sockets
wire         a connection, and what came back on it
clients      threads that behave well and badly
server       sttpd started, told to reload and to report, stopped
watch        descriptors, threads and memory, and whether they stay flat
"""
