#!/bin/bash
# zkServer.sh start-foreground: all that a container does.
set -euo pipefail
[[ ${1:-} == start-foreground ]] || { echo "zkServer.sh start-foreground" >&2; exit 2; }
exec java -Xmx"${ZK_SERVER_HEAP:-1000}"m ${JVMFLAGS:-} ${SERVER_JVMFLAGS:-} \
	-Dorg.slf4j.simpleLogger.showDateTime=true -Dorg.slf4j.simpleLogger.defaultLogLevel=WARN \
	-cp '/opt/zookeeper/libs/*' org.apache.zookeeper.server.quorum.QuorumPeerMain /conf/zoo.cfg
