# folder of jobs, id
[ -d "$1/$2" ] || { say ok; exit 0; }
job=$1/$2 folder=$1
boot
look && { say busy; exit 0; }
m=$(mv -- "$job" "$folder/.forgotten-$R" 2>&1) || told "$m"
rm -rf -- "$folder/.forgotten-$R"
say ok
