"""What tools/bench.sh runs: servers beside each other, loaded in turn, and the tables that come of it.

    __main__     the command line
    modes        what is measured, and what the figures should be
    run          a mode from start to end: docroots, servers, rounds, medians
    placement    on which cores
    servers      how each kind of server is built, started, watched and stopped
    docroot      the snippets, and the requests for them with the only right replies
    generator    loadgen.c where there is a C compiler, else pyload.py: the same command line, the same answer
    table        figures as a table that is reStructuredText too, and which targets they meet
    machine      what the figures were measured on

Programs of their own: loadgen.c and pyload.py make the load, idle.py holds idle connections, slow_sttpd.py is sttpd
beside a slow disk.
"""
