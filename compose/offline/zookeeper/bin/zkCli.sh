#!/bin/bash
# zkCli.sh -server HOST:PORT [COMMAND]
set -euo pipefail
exec java ${JVMFLAGS:-} ${CLIENT_JVMFLAGS:-} -Dorg.slf4j.simpleLogger.defaultLogLevel=WARN \
	-cp '/opt/zookeeper/libs/*' org.apache.zookeeper.ZooKeeperMain "$@"
