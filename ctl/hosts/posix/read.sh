there "$1" || why "$1"
[ -d "$1" ] && fail "Is a directory"
[ -f "$1" ] || { [ -L "$1" ] && why "$1/"; fail "not a regular file"; }
[ -r "$1" ] || fail "Permission denied"
say ok
cat -- "$1"
