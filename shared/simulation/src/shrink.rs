//! A shorter history that goes wrong in the same way.

use std::sync::Arc;

use host::judge::Judge;

use crate::{
    audit::Rule,
    script::{Script, Wire, Workers},
    world,
};

/// How many worlds are lived through for it.
const TRIES_MAX: u32 = 400;

/// Leaves out whatever is not needed for `rule` to be broken.
pub fn shrink(script: &Script, rule: Rule, judge: &Arc<Judge>) -> Script {
    let mut shrinking = Shrinking {
        rule,
        judge,
        tries: 0,
        best: script.clone(),
    };
    shrinking.simplify_world();
    let mut size = shrinking.best.actions.len().div_ceil(2).max(1);
    loop {
        let shorter = shrinking.leave_out(size);
        if shrinking.tries >= TRIES_MAX || (!shorter && size == 1) {
            return shrinking.best;
        }
        if !shorter {
            size = size.div_ceil(2);
        }
    }
}

struct Shrinking<'a> {
    rule: Rule,
    judge: &'a Arc<Judge>,
    tries: u32,
    best: Script,
}

impl Shrinking<'_> {
    fn is_as_bad(&mut self, candidate: Script) -> bool {
        if self.tries >= TRIES_MAX {
            return false;
        }
        self.tries += 1;
        let broken = world::run(&candidate, self.judge, false).violation;
        let same = broken.is_some_and(|violation| violation.rule == self.rule);
        if same {
            self.best = candidate;
        }
        same
    }

    fn simplify_world(&mut self) {
        let simpler: [fn(&mut Script); 3] = [
            |script| script.wire = Wire::Prompt,
            |script| script.workers = Workers::Honest,
            |script| script.streams = 1,
        ];
        for simplify in simpler {
            let mut candidate = self.best.clone();
            simplify(&mut candidate);
            if candidate != self.best {
                self.is_as_bad(candidate);
            }
        }
    }

    /// Tries to leave out each run of `size` actions. True where one was left out.
    fn leave_out(&mut self, size: usize) -> bool {
        let mut shorter = false;
        let mut from = 0;
        while from < self.best.actions.len() {
            let mut candidate = self.best.clone();
            let to = (from + size).min(candidate.actions.len());
            candidate.actions.drain(from..to);
            if self.is_as_bad(candidate) {
                shorter = true;
            } else {
                from += size;
            }
        }
        shorter
    }
}
