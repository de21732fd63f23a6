there "$1" || {
  m=$(ls -d -- "$1" 2>&1)
  case ${m##*: } in
    "No such file or directory" | "Not a directory") say missing; exit 0 ;;
    *) fail "${m##*: }" ;;
  esac
}
found=$(stat -c '%f %s %Y %u %g %U %G %y' -- "$1" 2>&1) || told "$found"
say ok "$found"
