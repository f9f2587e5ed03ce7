"""AWS EC2 as a source. `source.connect` opens it.

files ─> described          what the AWS CLI printed, in every form in which people keep it
discovery, files ─> told ─> instance ─┬─ disks, nics, console     what the API says, as a Machine     pure
                                      ├─ traffic                  what security groups let through
                                      ├─ placement                what runs it, where, and who may stop it
                                      └─ facts                    answers that remember what was read
source ─┬─ snapshot_sets     views: all volumes of an instance frozen at one instant
        ├─ references        snapshots as movers open them                                  pure
        ├─ power             the instance as it is now, its stop, and its start, which may fall back
        ├─ markers           which volume each disk was copied from                             pure
        ├─ groups            Auto Scaling groups, which end or replace what is stopped
        └─ marks             the tags that say that we have stopped it, and that it has moved
unanswered                  questions of discovery that EC2 did not answer, as concerns
uefi                        UEFI variables, as AWS hands them over
sharing                     other instances that have a volume of this one
stops                       what a stop meets, and the way back from it: asked without doing it
cost                        what reading snapshots costs                                              pure
"""
