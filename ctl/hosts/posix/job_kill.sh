# folder grace(hundredths of a second) unkillable(hundredths): TERM all that the job left in its session, then KILL
job=$1 grace=$2 limit=$(($2 + $3))
[ -d "$job" ] || { say absent; exit 0; }
if [ ! -e "$job/record" ]; then
  printf '0 0 - 0 0\n' >"$job/.tombstone" && ln -- "$job/.tombstone" "$job/record" 2>/dev/null
  rm -f -- "$job/.tombstone"
  durable "$job"
fi
{ read -r pid began then watcher watched <"$job/record"; } 2>/dev/null || fail "its record cannot be read"
boot
[ "$pid" = 0 ] || [ "$then" != "$boot" ] && { say dead; exit 0; }
prints_here() {
  for stream in 1 2; do
    to=$(readlink -- "/proc/$1/fd/$stream" 2>/dev/null)
    [ "${to%/*}" = "$job" ] && return 0
  done
  return 1
}
asked=' ' waited=0
while :; do
  sure=
  stat_of "$pid" && [ "$start" = "$began" ] && sure=1
  stat_of "$watcher" && [ "$start" = "$watched" ] && sure=1
  left=
  for stat in /proc/[0-9]*/stat; do
    one=${stat#/proc/}; one=${one%/stat}
    stat_of "$one" && [ "$session" = "$pid" ] && [ "$start" -ge "$began" ] || continue
    [ -n "$sure" ] || prints_here "$one" || continue
    left="$left $one"
    if [ "$waited" -ge "$grace" ]; then
      kill -KILL "$one" 2>/dev/null
    else
      case $asked in *" $one "*) ;; *) kill -TERM "$one"; kill -CONT "$one"; asked="$asked$one " ;; esac 2>/dev/null
    fi
  done
  # the program itself, before it has entered its own session
  if stat_of "$pid" && [ "$start" = "$began" ] && [ "$session" != "$pid" ]; then
    left="$left $pid"
    kill -KILL "$pid" 2>/dev/null
  fi
  [ -n "$left" ] || break
  [ "$waited" -ge "$limit" ] && { say stuck "$left"; exit 0; }
  sleep 0.02
  waited=$((waited + 2))
done
waited=0
while stat_of "$watcher" && [ "$start" = "$watched" ]; do
  [ "$waited" -ge 500 ] && kill -KILL "$watcher" 2>/dev/null
  sleep 0.02
  waited=$((waited + 2))
done
say dead
