# file offset limit
[ -e "$1" ] || { say ok; exit 0; }
[ -r "$1" ] || fail "Permission denied"
say ok
if [ -n "$3" ]; then tail -c "+$(($2 + 1))" -- "$1" | head -c "$3"; else tail -c "+$(($2 + 1))" -- "$1"; fi
