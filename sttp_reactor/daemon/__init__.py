"""A process and its children: signals, reload, logs, the service manager. Runs servers; knows no protocol."""
