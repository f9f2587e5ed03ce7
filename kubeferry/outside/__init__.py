"""The ways out of this process. Nothing here knows a machine, a plan or a source.

process     programs: the only place that starts one       stopping   "stop now", wherever somebody waits
ssh_client  OpenSSH's options and files                     atomic     files that are there whole or not at all
aws         boto3: clients, who logs in, its errors         locks      locks that end with their process
clock       the time of this host                           libraries  those of our extras, and what brings them
"""
