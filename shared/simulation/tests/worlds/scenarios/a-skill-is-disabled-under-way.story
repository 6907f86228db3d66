# Between the plan and the step the skill is withdrawn. The step does not start, and the run says
# why it ends.

    0.100  e1 v1: ada asks: mail for e1
    0.100  e1 is submitted: 201
    0.100  e1 v2: a plan of 2 steps is compiled from the intent's draft
    0.100  e1 v3: the plan is judged: Assist, risk Medium
    0.600  skill mail v3: root disables it
    0.600  root asks for skill.disable: 200
    1.200  e1 v4: root starts it by hand
    1.200  e1 v5: run 1 begins
    1.200  root asks for execution.start of e1: 200
    1.200  e1 v6: it has failed: SKILL_UNAVAILABLE
    1.220  the faults stop
