# pids; none given: all. Per process: pid and start, user, executable and arguments, each after $R
boot
say ok "$boot"
[ "$#" -gt 0 ] || { cd /proc && set -- [0-9]*; }
for pid in "$@"; do
  stat_of "$pid" || continue
  uid=
  { while read -r key _ effective _; do
      case $key in Uid:) uid=$effective; break ;; esac
    done <"/proc/$pid/status"; } 2>/dev/null
  [ -n "$uid" ] || continue
  eval "user=\${user_$uid-}"
  [ -n "$user" ] || { user=$(id -nu -- "$uid" 2>/dev/null || printf %s "$uid"); eval "user_$uid=\$user"; }
  printf '%s%s %s%s%s%s' "$R" "$pid" "$start" "$R" "$user" "$R"
  readlink -- "/proc/$pid/exe" 2>/dev/null
  printf %s "$R"
  cat -- "/proc/$pid/cmdline" 2>/dev/null
done
exit 0
