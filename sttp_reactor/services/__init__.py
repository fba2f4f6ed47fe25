"""Small whole servers on `sttp_reactor.net`, each a file or two that a reader finishes in ten minutes."""
