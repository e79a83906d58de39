#!/bin/bash
# Flags alone go to the server; its first start makes the system tables and the root user.
set -euo pipefail
data=/var/lib/mysql
[[ ${1:-} != -* ]] || set -- mysqld "$@"
[[ $1 == mysqld ]] || exec "$@"
shift

chown mysql $data
if [[ ! -e $data/installed ]]; then
	find $data -mindepth 1 -delete # a first start that was killed half-way
	mariadb-install-db --user=mysql --datadir=$data --skip-test-db \
		--auth-root-authentication-method=socket >/dev/null
	touch $data/installed
fi
quoted=${MYSQL_ROOT_PASSWORD//\\/\\\\}
cat >/run/mysqld/init.sql <<SQL
CREATE USER IF NOT EXISTS root@'%' IDENTIFIED BY '${quoted//\'/\'\'}';
GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;
SQL
exec mariadbd --user=mysql --datadir=$data --socket=/run/mysqld/mysqld.sock \
	--init-file=/run/mysqld/init.sql "$@"
