# Before each start: the data directory, both users with the passwords of the Secret, and their databases are there.
# What is there already is kept. Nobody else reaches the server meanwhile: it listens on a socket in this container.
set -eu
umask 077
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    rm -rf "$PGDATA.new"
    initdb --pgdata="$PGDATA.new" --username=postgres --encoding=UTF8 --locale=C --data-checksums \
        --auth-local=peer --auth-host=scram-sha-256
    echo 'host all all all scram-sha-256' >>"$PGDATA.new/pg_hba.conf"
    mv -T "$PGDATA.new" "$PGDATA"
fi
pg_ctl --wait --timeout=600 --options="-c listen_addresses='' -c unix_socket_directories=/tmp" start
for name in prefect kubeferry; do
    psql --host=/tmp --username=postgres --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set=name="$name" <<'SQL'
\set password `cat /etc/passwords/:name`
SELECT format('CREATE ROLE %I LOGIN', :'name') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name') \gexec
ALTER ROLE :"name" PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'name')
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
SQL
done
pg_ctl --wait --mode=fast stop
