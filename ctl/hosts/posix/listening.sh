say ok
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null
exit 0
