# path mode owner group size; the bytes on stdin
path=$1 mode=$2 owner=$3 group=$4 size=$5 target=$1 hops=0
while [ -L "$target" ]; do
  hops=$((hops + 1))
  [ "$hops" -gt 40 ] && refuse "$path is a symbolic link that leads round in a circle"
  uid=$(stat -c %u -- "$target")
  [ "$uid" = 0 ] || [ "$uid" = "$(id -u)" ] ||
    refuse "$target is a symbolic link of $(stat -c %U -- "$target"): not followed"
  to=$(readlink -- "$target"; printf x)
  to=${to%?x}
  folder_of "$target"
  case $to in /*) target=$to ;; *) target=$d/$to ;; esac
done
[ -d "$target" ] && refuse "$path is a directory, not a file: not replaced"
[ -e "$target" ] && [ ! -f "$target" ] && refuse "$path is something other than a file: not replaced"
folder_of "$target"
[ -d "$d" ] || { there "$d" || fail "No such file or directory"; why "$d/"; }
name=${target##*/}
stem=$d/.$(printf %.200s "$name").regctl-tmp-
for old in "$stem"*; do
  [ -f "$old" ] && [ -n "$(find "$old" -prune -mmin +60 2>/dev/null)" ] && rm -f -- "$old"
done
uid=$owner gid=$group
if [ -n "$owner" ]; then case $owner in *[!0-9]*) uid=$(id -u -- "$owner" 2>/dev/null) || say nobody; esac; fi
if [ -n "$group" ]; then
  case $group in *[!0-9]*) gid=$(getent group -- "$group" 2>/dev/null | cut -d: -f3) ; [ -n "$gid" ] || say nobody ;; esac
fi
if [ -n "$owner" ] && [ -z "$uid" ] || [ -n "$group" ] && [ -z "$gid" ]; then exit 0; fi
new=$stem$R
undo() { rm -f -- "$new"; told "$1"; }
umask 177
set -C
m=$( { cat >"$new"; } 2>&1) || undo "$m"
set +C
[ "$(wc -c <"$new")" -eq "$size" ] || { rm -f -- "$new"; fail "the connection ended before all was there"; }
# where old and new are both ours there is nothing to ask; -O and -G where the shell knows them
ours() { [ -O "$1" ] && [ -G "$1" ]; } 2>/dev/null
if [ -e "$target" ] && ! { [ -z "$uid$gid" ] && ours "$target" && ours "$new"; }; then
  [ -n "$uid" ] || uid=$(stat -c %u -- "$target")
  [ -n "$gid" ] || gid=$(stat -c %g -- "$target")
fi
if [ -n "$uid$gid" ]; then m=$(chown -- "$uid${gid:+:$gid}" "$new" 2>&1) || undo "$m"; fi
m=$(chmod -- "$mode" "$new" 2>&1) || undo "$m"
durable "$new"
m=$(mv -f -- "$new" "$target" 2>&1) || undo "$m"
durable "$d"
say ok
