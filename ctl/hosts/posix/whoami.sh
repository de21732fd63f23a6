# who we are here, and what there is to work with; $1 comes back as it was sent
say ok
printf '%s\0' "$(id -u)" "$(id -un)" "$HOME" "$(uname -s -r)" "$1"
for tool in sudo setpriv python3 systemctl sv sync stat setsid; do
  command -v "$tool" >/dev/null && printf '%s ' "$tool"
done
env --default-signal=INT,QUIT true 2>/dev/null && printf default-signal
exit 0
