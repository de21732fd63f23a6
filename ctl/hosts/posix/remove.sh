there "$1" || { say ok; exit 0; }
[ -d "$1" ] && [ ! -L "$1" ] && fail "Is a directory"
m=$(rm -f -- "$1" 2>&1) || told "$m"
folder_of "$1"
durable "$d"
say ok
