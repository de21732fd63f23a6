there "$1" || why "$1"
[ -d "$1" ] || fail "Not a directory"
cd -- "$1" 2>/dev/null && [ -r . ] || fail "Permission denied"
say ok
for name in * .*; do
  case $name in . | ..) continue ;; esac
  there "$name" && printf '%s\0' "$name"
done
exit 0
