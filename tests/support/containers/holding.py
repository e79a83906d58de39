"""Something to hold for each of the three servers: put once, and looked for later."""

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import KafkaError
from kazoo.client import KazooClient
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from labkit.stack.containers.stack import ServerAddresses


def put(backends: ServerAddresses) -> None:
    """Give each server one thing to hold, committed or acknowledged."""
    engine = create_engine(backends.mysql, poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE DATABASE held")
        connection.exec_driver_sql("CREATE TABLE held.things (id BIGINT PRIMARY KEY)")
        connection.exec_driver_sql("INSERT INTO held.things VALUES (7)")
    admin = KafkaAdminClient(bootstrap_servers=backends.broker)
    admin.create_topics([NewTopic("held", num_partitions=1, replication_factor=1)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=backends.broker, acks="all")
    producer.send("held", b"7").get(10)
    producer.close()
    keeper = _keeper(backends)
    keeper.create("/held", b"7")
    keeper.stop()


def held(backends: ServerAddresses) -> tuple[list[int], list[bytes], bytes | None]:
    """Return what MySQL, Kafka and ZooKeeper hold of it."""
    return _in_mysql(backends), _in_kafka(backends), _in_zookeeper(backends)


def _in_mysql(backends: ServerAddresses) -> list[int]:
    engine = create_engine(backends.mysql, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            return list(connection.exec_driver_sql("SELECT id FROM held.things").scalars())
    except DBAPIError:
        return []


def _in_kafka(backends: ServerAddresses) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=backends.broker, auto_offset_reset="earliest")
    try:
        if "held" not in consumer.topics():
            return []
        consumer.assign([TopicPartition("held", 0)])
        polled = consumer.poll(timeout_ms=10_000)
        return [record.value for records in polled.values() for record in records]
    except KafkaError:
        return []
    finally:
        consumer.close()


def _in_zookeeper(backends: ServerAddresses) -> bytes | None:
    keeper = _keeper(backends)
    try:
        return keeper.get("/held")[0] if keeper.exists("/held") else None
    finally:
        keeper.stop()


def _keeper(backends: ServerAddresses) -> KazooClient:
    keeper = KazooClient(hosts=backends.zookeeper)
    keeper.start()
    return keeper
