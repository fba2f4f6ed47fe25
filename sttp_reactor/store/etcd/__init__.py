"""Files in an etcd cluster, by its JSON gateway: the same tree, kept by several machines."""
