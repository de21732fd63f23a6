# folder of the job: its claim, its record, its exit code, and which of both processes live
[ -d "$1" ] || { say absent; exit 0; }
claim= record= code= lives= watched=
{ read -r claim <"$1/claim"; } 2>/dev/null
{ read -r record <"$1/record"; } 2>/dev/null
boot
if [ -n "$record" ]; then
  set -f
  set -- "$1" $record
  set +f
  if [ "$4" = "$boot" ]; then
    stat_of "$2" && [ "$start" = "$3" ] && lives=1
    stat_of "$5" && [ "$start" = "$6" ] && watched=1
  fi
fi
{ read -r code <"$1/exit"; } 2>/dev/null
say job "claim=$claim" "record=$record" "lives=$lives" "watched=$watched" "code=$code"
