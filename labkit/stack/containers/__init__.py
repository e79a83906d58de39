"""MySQL, Kafka and ZooKeeper in containers, through the Docker engine."""
