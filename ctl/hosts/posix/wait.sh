# What is said of a job once it runs no more. $boot must be set.
# look: true while it goes on, or is only claimed; leaves $claim $record $lives $watched $code
look() {
  [ -d "$job" ] || { say absent; exit 0; }
  claim= record= code= lives= watched=
  { read -r claim <"$job/claim"; } 2>/dev/null
  { read -r record <"$job/record"; } 2>/dev/null
  [ -n "$record" ] || return 0
  set -f
  set -- $record
  set +f
  [ "$3" = "$boot" ] && stat_of "$1" && [ "$start" = "$2" ] && lives=1
  [ "$3" = "$boot" ] && stat_of "$4" && [ "$start" = "$5" ] && watched=1
  { read -r code <"$job/exit"; } 2>/dev/null
  [ -z "$code" ] && [ -n "$lives$watched" ]
}
tell() { say job "claim=$claim" "record=$record" "lives=$lives" "watched=$watched" "code=$code"; }
# patience (hundredths of a second), bytes: what job_status says as soon as the job runs no more or the
# patience is over; then, of one that ended, the sizes of what it printed and the last bytes of both
wait_for() {
  waited=0 pause=3 most=$2
  while look && [ "$waited" -lt "$1" ]; do
    sleep "0.0$pause"
    waited=$((waited + pause))
    [ "$pause" -lt 9 ] && pause=$((pause + 1))
  done
  # it may have been written between the looks
  [ -n "$record" ] && [ -z "$code$lives$watched" ] && look
  tell
  [ -n "$record" ] && { [ -n "$code" ] || [ -z "$lives$watched" ]; } || exit 0
  last "$job/stdout"
  last "$job/stderr"
  exit 0
}
last() {
  size=0
  [ -f "$1" ] && [ -s "$1" ] && size=$(wc -c <"$1")
  from=$((size > most ? size - most : 0))
  printf '%s %s\n' "$((size))" "$((size - from))"
  [ "$size" -eq "$from" ] || tail -c "+$((from + 1))" -- "$1" | head -c "$((size - from))"
}
