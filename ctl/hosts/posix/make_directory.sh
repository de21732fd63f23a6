# path mode owner group
[ -d "$1" ] && { say ok; exit 0; }
there "$1" && refuse "$1 is there and is not a directory"
umask 022
folder_of "$1"
m=$(mkdir -p -- "$d" 2>&1) || told "$m"
umask 077
if m=$(mkdir -- "$1" 2>&1); then
  if [ -n "$3$4" ]; then m=$(chown -- "$3${4:+:$4}" "$1" 2>&1) || { rmdir -- "$1"; told "$m"; }; fi
  m=$(chmod -- "$2" "$1" 2>&1) || { rmdir -- "$1"; told "$m"; }
  durable "$d"
elif [ ! -d "$1" ]; then
  told "$m"
fi
say ok
