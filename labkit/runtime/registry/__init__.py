"""Who serves what, and who may make ids under which number: in a folder or in ZooKeeper."""
