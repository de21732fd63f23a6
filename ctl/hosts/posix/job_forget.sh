# folder of jobs, id
[ -d "$1/$2" ] || { say ok; exit 0; }
m=$(mv -- "$1/$2" "$1/.forgotten-$R" 2>&1) || told "$m"
rm -rf -- "$1/.forgotten-$R"
say ok
