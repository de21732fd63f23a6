# Stands over one job, in a session of its own. Arguments: the job's folder, its log or "", how to read
# the job's script from descriptor 3, a word for that, what becomes the job's user, and what env is told to
# give the job its signals back (where it knows how). The program waits until the record that names it
# lies on the disk, so a job that runs is always known; a tombstone in the record's place stops it.
job=$1 log=$2 boot=$3 word=$4 become=$5 plain=$6
cd /
exec 3<"$job/script" 4<"$job/stdin" || exit 1
rm -f -- "$job/script" "$job/stdin"
if [ -n "$log" ]; then
  umask 027
  exec 5>>"$log" 6>&5 || exit 1
else
  exec 5>>"$job/stdout" 6>>"$job/stderr" || exit 1
fi
umask 077
(
  read -r me rest </proc/self/stat
  while [ ! -e "$job/record" ]; do
    read -r stat </proc/self/stat
    stat=${stat##*) }
    stat=${stat#* }
    [ "${stat%% *}" = "$$" ] || exit 0
    sleep 0.02
  done
  read -r named rest <"$job/record"
  [ "$named" = "$me" ] || exit 0
  exec setsid $become env -i $plain /bin/sh -c "$boot" sh "$word" <&4 >&5 2>&6 4<&- 5>&- 6>&-
) &
pid=$!
exec 3<&- 4<&- 5>&- 6>&-
trap : TERM HUP INT QUIT
stat_of "$$"
ours=$start
stat_of "$pid"
boot
printf '%s %s %s %s %s\n' "$pid" "$start" "$boot" "$$" "$ours" >"$job/.record.$$"
durable "$job/.record.$$"
ln -- "$job/.record.$$" "$job/record" || { rm -f -- "$job/.record.$$"; exit 0; }
rm -f -- "$job/.record.$$"
durable "$job"
while :; do
  wait "$pid"
  code=$?
  kill -0 "$pid" 2>/dev/null || break
done
tries=0
until printf '%s\n' "$code" >"$job/.exit.$$" && durable "$job/.exit.$$" && mv -f -- "$job/.exit.$$" "$job/exit"; do
  [ -d "$job" ] || exit 0
  tries=$((tries + 1))
  [ "$tries" -gt 600 ] && exit 1
  sleep 1
done 2>/dev/null
durable "$job"
