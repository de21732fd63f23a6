# folder of the job: its claim, its record, its exit code, and which of both processes live
job=$1
boot
look
tell
