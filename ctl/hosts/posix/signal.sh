# pid start-time boot-id number group?
boot
[ "$boot" = "$3" ] && stat_of "$1" && [ "$start" = "$2" ] || { say gone; exit 0; }
if [ "$5" = whole-group ]; then
  [ "$group" = "$1" ] || refuse "process $1 does not lead a process group: not signalled"
  m=$(kill "-$4" -- "-$1" 2>&1) || told "$m"
else
  m=$(kill "-$4" "$1" 2>&1) || told "$m"
fi
say sent
