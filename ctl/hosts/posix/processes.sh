# pids; none given: all. First, after $R each, all arguments and all executables where that takes one
# program each; then, per process, pid and start, user, executable and arguments, each after $R
boot
say ok "$boot"
cd /proc || exit 1
bulk=
if [ "$#" -eq 0 ]; then
  set -- [0-9]*
  bulk=1
  printf %s "$R"
  grep -zaH '' [0-9]*/cmdline 2>/dev/null
  printf %s "$R"
  if find . -maxdepth 0 -printf '' 2>/dev/null; then
    find [0-9]*/exe -maxdepth 0 -printf '%p:%l\0' 2>/dev/null
  else
    for pid in "$@"; do printf '%s/exe:%s\0' "$pid" "$(readlink -- "$pid/exe" 2>/dev/null)"; done
  fi
fi
for pid in "$@"; do
  stat_of "$pid" || continue
  uid=
  { while read -r key _ effective _; do
      case $key in Uid:) uid=$effective; break ;; esac
    done <"$pid/status"; } 2>/dev/null
  [ -n "$uid" ] || continue
  eval "user=\${user_$uid-}"
  [ -n "$user" ] || { user=$(id -nu -- "$uid" 2>/dev/null || printf %s "$uid"); eval "user_$uid=\$user"; }
  printf '%s%s %s%s%s%s' "$R" "$pid" "$start" "$R" "$user" "$R"
  [ -n "$bulk" ] || readlink -- "$pid/exe" 2>/dev/null
  printf %s "$R"
  [ -n "$bulk" ] || cat -- "$pid/cmdline" 2>/dev/null
done
exit 0
