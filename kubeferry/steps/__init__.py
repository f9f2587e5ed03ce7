"""What an action does, as plain functions: a function takes the seams and the journal and appends what it saw.

drive ─┬─ transfer      rounds, copies, read-backs: the mover does the work
       ├─ rehearsal     an isolated copy over what is durable, looked at and taken away
       └─ cutover       stop the source, put the target in place, look at it, commit; and the way back
          marks         what is left at a source that we stop, and what another journal's says
          moved         what is left at the target of a machine that has moved, and never written over unasked
          variables, tpm    UEFI variables, and what a TPM holds, before the target is put in place
          afterwards    what starts a source by itself; what people read at it; whether it runs beside its copy
          small         what lies beside the disks, written and read back by movers
          unconfirmed   a stop that was asked for, and nobody saw done
          power         what changes a power state: a look before, a look after, and what was too late undone
          hooks         what a plan runs at fixed points of a cutover;  hook_kinds: a program, a call, one in the guest
          recording     errors, recorded before they go on
          patience      steps that are tried again;  in_time: those that would outlast the time of their cutover
          unrecorded    the way back where the journal does not answer, and the time of the cutover is over
          ended         what is left of a machine that is not at its source any more, and what is lost
rehearsing              one rehearsal, of which nothing is left whatever happens;  rehearsing_together: an app's
together                the machines of a set, driven as one;  apps: an app as a whole, asked of one of them
beforehand              what is asked of source and target before anything stops
sources                 the source of a plan, opened
strayed                 a machine that its source has no more, looked for at the others
questions               one question to a source about each of many machines, several at a time
gate                    whether a cutover may begin now, by its window and what is projected of it
approvals               whether machines are approved;  approving: what a person approves, and that he does
answers                 what he says who is asked for it: yes, no, not now
dry_runs                what a run would do, without asking anybody
turns                   whose turn it is in a run, and who waits for whom;  slots: how many at once, over all runs
precedence              which of several plans has a machine in hand
probing                 the plan's probes, asked of a machine as it runs now
discover                asks a source               work          what every step is given
accounts                what of ours exists outside: looked for, given back, recorded as gone
release                 accounts for every thing    other_plans   those that the journal knows of the same machines
"""
