"""One machine's life, pure: what can be said of it, what follows, and what is next.

events ── what was seen, one frozen value a kind (event_kinds; rehearsal_events)
  └─ evidence ── what each event needs and changes: no claim without evidence;  machine_state ── what is known of one
       │    └─ hooks ── what is run at fixed points of a cutover, and was (hook_events)
       └─ states ── (phase, kind of event) -> phase, and the fold over all events of a machine
            │     └─ rehearsal ── one of the synced copy: what became of it, and what a policy asks of it
            └─ actions ── plan entry and state -> what is next, and why (action_kinds);  rounds: one more, or not
            │    ├─ rehearsal_actions ── the same in a rehearsal;  hook_actions ── and for hooks
            │    ├─ imagined ── the dry run, in the words of foretold
            │    └─ sets ── the same for machines that move as one, in the order of `stages`
            │         └─ rehearsed_together ── and for those that are rehearsed at the same time
            ├─ deadline ── until when a cutover may last;  tries: how often a step is tried until then;  pace: how fast
            ├─ watch ── what comes of a machine that is validated, and not committed yet;  care: who needs somebody now
            ├─ old_machine ── what is known of the machine that was left behind, in words
            └─ held ── what a machine waits for before anything is done to it, and which waves have stopped
            └─ experience ── how long cutovers took ── projection ── how long one would take now;  gate: may it begin
projected ── what was projected of a cutover, as ranges: it stands in the journal, and is scored after the fact

decisions ── what persons have decided for a plan;  approvals ── whether that approves its machines
dry_runs ── what would be done with a machine, as a digest
"""
