# One dump of the journal, readable as a whole before it counts; the oldest ones go. PGHOST, PGPASSWORD: the environment's.
set -eu
umask 077
dest="/backup/kubeferry-$(date -u +%Y%m%dT%H%M%SZ).dump"
rm -f /backup/*.new
pg_dump --format=custom --no-password --file="$dest.new"
pg_restore --file=/dev/null "$dest.new"
sync "$dest.new"
mv "$dest.new" "$dest"
sync /backup
ls -1 /backup/*.dump | sort | head -n "-$KEEP" | xargs -r rm -f
echo "$dest: $(wc -c <"$dest") bytes"
