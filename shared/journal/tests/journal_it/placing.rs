//! Which stream holds what.

use contracts::{
    position::StreamId,
    subject::{AggregateId, SHARDS},
};
use journal::layout::StreamCount;

#[test]
fn a_subject_is_in_the_stream_of_its_aggregate_whatever_happened() {
    let workspace = contracts::ids::WorkspaceId::global();
    for count in [1, 4, SHARDS] {
        let count = StreamCount::try_new(count).unwrap();
        for id in 0..200 {
            let incident = AggregateId::incident(workspace.clone(), &id.to_string());
            let subject = format!("{}.1.of.another.age", incident.prefix());
            let found = count.stream_of_subject(&subject);
            assert_eq!(found, Some(count.stream_of(&incident)), "{subject}");
        }
    }
    let of = |subject| StreamCount::ONE.stream_of_subject(subject);
    let skill = "controlPlane.acme.skill.00.x.1.skill.eaten";
    assert_eq!(of(skill), Some(StreamId::Catalogue));
    for elsewhere in [
        "",
        "cp.api.acme.ann",
        "controlPlane.acme.dream.00.x.1.y",
        "controlPlane.acme.execution.7f.x.1.y",
    ] {
        assert_eq!(of(elsewhere), None, "{elsewhere}");
    }
}
