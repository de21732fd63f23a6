# session number: TERM or KILL for whatever is in it, this script's own apart
for stat in /proc/[0-9]*/stat; do
  pid=${stat#/proc/}; pid=${pid%/stat}
  stat_of "$pid" || continue
  [ "$session" = "$1" ] && kill "-$2" "$pid" 2>/dev/null
done
say ok
