"""The store on a disk: files below a docroot, and the journal that makes writes to them durable."""
