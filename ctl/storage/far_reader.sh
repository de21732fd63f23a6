# How a tree is read on this host: by a python3 that is new enough, else by find, stat and tar.
# What the controller sends then: the program for python3; or one word, and after that blocks of calls of the
# functions below, each block ended by a line with the word. An answer ends with the word, too: it is never on
# a command line. Between two records stands //, which is in no path that find prints.
for python in python3 /usr/libexec/platform-python; do
  command -v "$python" >/dev/null || continue
  LC_ALL=C.UTF-8 "$python" -I -S -c \
    'import sys; sys.exit(sys.version_info < (3, 6) or sys.getfilesystemencoding().lower() != "utf-8")' \
    </dev/null >/dev/null 2>&1 || continue
  say python
  LC_ALL=C.UTF-8
  export LC_ALL
  exec "$python" -I -S -c 'import os
def exactly(n):
    b = b""
    while len(b) < n:
        p = os.read(0, n - len(b))
        if not p: os._exit(97)
        b += p
    return b
exec(compile(exactly(int(exactly(10))), "regctl", "exec"))'
done
for tool in find stat tar head sha256sum sha512sum; do
  command -v "$tool" >/dev/null && continue
  say refused "there is neither python3 (3.6 or later) nor $tool on this host: its storage cannot be read"
  exit 0
done
say shell
n='
'
squeeze() { cat; }
command -v gzip >/dev/null && squeeze() { gzip -1 -c; }
# what a program complains of goes into the answer, behind what it prints
heard() { e=$("$@" 2>&1 >&3); printf '//%s' "$e"; }
here() {
  cd -P -- "$directory" 2>/dev/null && return
  m=$(ls -d -- "$directory/" 2>&1)
  printf 'gone %s' "${m##*: }"
  return 1
}
look() {
  here || return
  for p; do
    if [ -L "${p%/*}" ]; then printf p
    elif [ -e "$p" ] || [ -L "$p" ]; then printf y
    else printf n; fi
  done
  heard stat -c '//%f %s %Y %y' -- "$@"
}
# depth, then folders: a letter for each, and the entries below those that are folders
folders() {
  here || return
  depth=$1
  shift
  for p; do
    shift
    if [ -L "$p" ]; then printf n
    elif [ -d "$p" ]; then
      if [ -r "$p" ] && [ -x "$p" ]; then
        printf y
        set -- "$@" "$p"
      else printf r; fi
    elif [ -e "$p" ]; then printf n
    else
      m=$(ls -d -- "$p" 2>&1)
      case $m in
        *': No such file or directory') printf m ;;
        *': Not a directory') printf n ;;
        *': Permission denied') printf r ;;
        *) printf u ;;
      esac
    fi
  done
  [ $# = 0 ] || heard find "$@" -mindepth 1 -maxdepth "$depth" -exec stat -c '//%f %s %Y %y %n' {} +
}
below() { here && heard find "$1" -exec stat -c '//%f %s %Y %y %n' {} +; }
# the exit status of tar, then its archive
files() {
  here || return
  e=$( { { tar -c -f - -- "$@" 2>/dev/null 4>&-; echo $? >&4; } | squeeze >&3; } 4>&1 )
  printf '%s' "$e"
}
whole() { here && heard head -c "$1" -- "$2"; }
sum_of() { here && heard "$1" -- "$2"; }
room() { here && stat -f -c '%S %b %a %d' .; }
there() { if [ -d "$directory" ]; then printf yes; else printf no; fi; }
IFS= read -r word || exit 0
exec 3>&1
while :; do
  s='' o=''
  while IFS= read -r l; do
    [ "$l" = "$word" ] && { o=1; break; }
    s=$s$l$n
  done
  [ "$o" ] || exit 0
  eval "$s" </dev/null
  printf '\n%s\n' "$word"
done
