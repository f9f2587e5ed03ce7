"""The ways out of this process. Nothing here knows a machine, a plan or a source.

process     programs: the only place that starts one       stopping   "stop now", wherever somebody waits
ssh_client  OpenSSH's options and files                     signals    who asks for that: Ctrl-C, SIGTERM, SIGHUP
aws         boto3: clients, who logs in, its errors         streams    standard output and error, whoever listens
logins      of AWS: read anew where they have run out
clock       the time of this host                           atomic     files that are there whole or not at all
libraries   those of our extras, and what brings them       locks      locks that end with their process
patience    answers of HTTP that drip have a deadline        owned      files of ours in a folder of others
struck      what leaves is without secrets                   subject    which machine a thread is at work on
signatures  ssh-keygen signs and verifies                   posting    one request by HTTP, and its answer
first_process  the first one of a container, for a command that leaves others
"""
