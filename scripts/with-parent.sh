#!/usr/bin/env bash
# with-parent.sh DIR COMMAND...: runs a server whose files are in DIR and writes its process id to DIR/pid.
# When standard input ends, because whoever holds the other end asked for it or died, the server is killed
# and DIR deleted. When the server ends by itself, DIR stays, for the next start.
set -euo pipefail

dir=$1
shift
"$@" </dev/null >>"$dir/log.txt" 2>&1 &
server=$!
# Where bash says that it was killed.
exec 2>>"$dir/log.txt"
echo "$server" >"$dir/pid.new"
mv "$dir/pid.new" "$dir/pid"

while kill -0 "$server" 2>/dev/null; do
    # 1 is the end of the input, more than 128 that nothing came in time.
    status=0
    read -r -t 0.2 || status=$?
    if ((status == 1)); then
        # Its children too, which PostgreSQL's are.
        kill -KILL "$server" $(cat "/proc/$server/task/$server/children" 2>/dev/null) 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        rm -rf "$dir"
        exit 0
    fi
done
status=0
wait "$server" || status=$?
exit "$status"
