# folder id digest size program path log word boot become script supervise plain; the program's stdin on stdin.
# With patience and bytes after them it waits for the job at once, as job_wait does
folder=$1 id=$2 digest=$3 size=$4 log=$7 job=$1/$2
PATH_HERE=$PATH
PATH=$6
program "$5" || { say missing; exit 0; }
PATH=$PATH_HERE
umask 077
[ -d "$folder" ] || m=$(mkdir -p -- "$folder" 2>&1) || told "$m"
for old in "$folder"/.forgotten-*; do [ -d "$old" ] && rm -rf -- "$old"; done
new=$folder/.new-$R
m=$(mkdir -- "$new" 2>&1) || told "$m"
undo() { rm -rf -- "$new"; told "$1"; }
m=$( { { [ "$size" -eq 0 ] || cat; } >"$new/stdin"; } 2>&1) || undo "$m"
[ "$size" -eq 0 ] || [ "$(wc -c <"$new/stdin")" -eq "$size" ] || undo "the connection ended before all was there"
m=$( { printf '%s' "${11}" >"$new/script" && printf '%s\n' "$digest" >"$new/claim"; } 2>&1) || undo "$m"
durable "$new/claim"
if ! mkdir -- "$job" 2>/dev/null; then
  rm -rf -- "$new"
  there "$job" || fail "Permission denied"
  say claimed
  exit 0
fi
durable "$folder"
mv -f -- "$new/claim" "$new/stdin" "$new/script" "$job/" || fail "the claim of job $id is not whole: kill it, then start again"
rmdir -- "$new"
if [ -d /run/systemd/system ] && [ "$(id -u)" = 0 ] && command -v systemd-run >/dev/null; then
  systemd-run --quiet --collect --unit="regctl-job-$id" --property=KillMode=process \
    /bin/sh -c "${12}" regctl-job "$job" "$log" "$9" "$8" "${10}" "${13}" </dev/null >/dev/null 2>&1 ||
    fail "systemd-run could not start it"
else
  setsid /bin/sh -c "${12}" regctl-job "$job" "$log" "$9" "$8" "${10}" "${13}" </dev/null >/dev/null 2>&1 &
fi
[ -z "${14-}" ] || { say begun; boot; wait_for "${14}" "${15}"; }
tries=0
while [ ! -e "$job/record" ]; do
  tries=$((tries + 1))
  [ "$tries" -gt 1500 ] && fail "its supervisor did not start"
  sleep 0.02
done
read -r record <"$job/record"
say started "$record"
