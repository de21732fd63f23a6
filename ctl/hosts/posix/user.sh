# a user's name: its numbers
uid=$(id -u -- "$1" 2>/dev/null) && say ok "$uid" "$(id -g -- "$1")" || say missing
