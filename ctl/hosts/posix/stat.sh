# path; with a number of bytes after it a plain file that is no longer than that follows
there "$1" || {
  m=$(ls -d -- "$1" 2>&1)
  case ${m##*: } in
    "No such file or directory" | "Not a directory") say missing; exit 0 ;;
    *) fail "${m##*: }" ;;
  esac
}
found=$(stat -c '%f %s %Y %u %g %U %G %y' -- "$1" 2>&1) || told "$found"
say ok "$found"
[ -n "${2-}" ] && [ -f "$1" ] && [ ! -L "$1" ] && [ -r "$1" ] || exit 0
size=${found#* }
size=${size%% *}
[ "$size" -gt 0 ] && [ "$size" -le "$2" ] && cat -- "$1"
exit 0
