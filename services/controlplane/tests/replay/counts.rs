//! What is counted is told in the number it takes.

use controlplane::{
    replay::report::{Report, Summary},
    screen::count,
};
use expect_test::expect;

#[test]
fn one_is_not_told_as_many() {
    for (number, noun, told) in [
        (0, "execution", "0 executions"),
        (1, "execution", "1 execution"),
        (2, "execution", "2 executions"),
        (1, "policy", "1 policy"),
        (3, "policy", "3 policies"),
        (4, "day", "4 days"),
        (5, "more difference", "5 more differences"),
    ] {
        assert_eq!(count(number, noun), told);
    }
}

#[test]
fn a_replay_of_one_execution_tells_of_one() {
    let one = Summary {
        executions: 1,
        other_aggregates: 1,
        events: 1,
        decisions: 1,
        inputs: 1,
        not_rederived: 1,
        differences: 1,
        unfinished: 1,
    };
    let report = Report {
        summary: one,
        ..Report::default()
    };
    expect![[r"
        … and 1 more difference
        … and 1 more not re-derived
        … and 1 more unfinished
        1 execution and 1 other aggregate, 1 event: 1 decision re-derived, 1 input from outside, 1 not re-derived, 1 difference, 1 unfinished
    "]]
    .assert_eq(&report.to_string());
}
