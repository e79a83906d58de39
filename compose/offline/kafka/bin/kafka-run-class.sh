#!/bin/bash
# kafka-run-class.sh CLASS ARGUMENTS…
set -euo pipefail
exec java ${KAFKA_HEAP_OPTS:-} ${KAFKA_JVM_PERFORMANCE_OPTS:-} ${KAFKA_OPTS:-} \
	"${JAVA_ARCHIVE:--XX:SharedArchiveFile=/opt/kafka/kafka.jsa}" \
	-Dorg.slf4j.simpleLogger.showDateTime=true \
	-Dorg.slf4j.simpleLogger.defaultLogLevel="${KAFKA_LOG4J_ROOT_LOGLEVEL:-WARN}" \
	-cp '/opt/kafka/libs/*' "$@"
