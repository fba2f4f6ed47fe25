"""One STTP server: sessions, the service they ask, its cache and workers. Runs on a reactor; knows no process."""
