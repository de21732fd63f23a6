# Before every script: $R is a word nobody can guess; what regctl is to read begins with it.
say() { printf '%s %s\n' "$R" "$*"; }
fail() { say fail "$*"; exit 0; }
refuse() { say refused "$*"; exit 0; }
# the operating system's own words on a path that cannot be reached
why() { m=$(ls -d -- "$1" 2>&1); fail "${m##*: }"; }
there() { [ -e "$1" ] || [ -L "$1" ]; }
# exit status of a failed program, its last words after the last colon
told() { m=$1; n='
'; m=${m##*"$n"}; fail "${m##*: }"; }
durable() { sync -- "$1" 2>/dev/null || sync; }
folder_of() { d=${1%/*}; [ "$d" = "$1" ] && d=.; [ -n "$d" ] || d=/; }
# what /proc says of a live process: $parent $group $session $start; false if there is none
stat_of() {
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
  line=${line##*) }
  set -f
  fields $line
  set +f
  case $state in Z | X | x) return 1 ;; esac
}
fields() { state=$1 parent=$2 group=$3 session=$4 start=${20}; }
boot() { read -r boot </proc/sys/kernel/random/boot_id; }
# where a program lies: as execvp finds it
program() {
  case $1 in
    */*) [ -f "$1" ] && [ -x "$1" ]; return ;;
  esac
  rest=$PATH:
  while [ -n "$rest" ]; do
    [ -f "${rest%%:*}/$1" ] && [ -x "${rest%%:*}/$1" ] && return 0
    rest=${rest#*:}
  done
  return 1
}
