# All of it or nothing: one transaction, in which what is there gives way to what was saved.
set -eu
from="${FROM:-$(ls -1 /backup/*.dump | sort | tail -n 1)}"
pg_restore --no-password --single-transaction --clean --if-exists --no-owner --dbname="$PGDATABASE" "$from"
echo "restored: $from"
