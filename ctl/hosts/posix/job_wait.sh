# folder of the job, patience (hundredths of a second), bytes
job=$1
boot
wait_for "$2" "$3"
