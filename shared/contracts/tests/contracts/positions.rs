//! Position tokens.

use contracts::position::{InvalidToken, Position, Positions, StreamId};
use proptest::prelude::*;

fn log(index: u8, sequence: u64) -> Position {
    Position {
        stream: StreamId::Log(index),
        sequence,
    }
}

fn catalogue(sequence: u64) -> Position {
    Position {
        stream: StreamId::Catalogue,
        sequence,
    }
}

fn set(positions: &[Position]) -> Positions {
    let mut set = Positions::beginning();
    for position in positions {
        set.advance(*position);
    }
    set
}

#[test]
fn a_token_has_one_spelling() {
    assert_eq!(Positions::beginning().to_string(), "v1");
    assert_eq!(
        set(&[catalogue(9), log(0, 500)]).to_string(),
        "v1.00-1f4.c-9"
    );
    let refused = [
        "",
        "v2",
        "v1.",
        "v1.00",
        "v1.00-",
        "v1.0-1",
        "v1.000-1",
        "v1.00-01",
        "v1.00-+1",
        "v1.00-1F",
        "v1.+1-1",
        "v1.c-9.00-1f4",
        "v1.00-1.00-2",
        "v1.00-1.00-1",
        "v1.x-1",
        "v1.256-1",
        "V1.00-1",
        "v1.00-1 ",
        "v1.00-10000000000000000",
    ];
    for text in refused {
        assert_eq!(text.parse::<Positions>(), Err(InvalidToken), "`{text}`");
    }
}

#[test]
fn a_position_never_moves_backward() {
    let mut positions = set(&[log(0, 7)]);
    positions.advance(log(0, 3));
    assert_eq!(positions.get(StreamId::Log(0)), 7);
    assert_eq!(positions.get(StreamId::Log(1)), 0);
}

#[test]
fn tokens_are_compared_stream_by_stream() {
    let reader = set(&[log(0, 7), catalogue(2)]);
    assert!(reader.covers(&Positions::beginning()));
    assert!(reader.covers(&set(&[log(0, 7)])));
    assert!(!reader.covers(&set(&[log(0, 8)])));
    assert!(!reader.covers(&set(&[log(0, 1), log(1, 1)])));
}

#[test]
fn streams_have_the_names_of_the_log() {
    assert_eq!(StreamId::Log(0).name(), "CONTROL_PLANE_00");
    assert_eq!(StreamId::Log(63).name(), "CONTROL_PLANE_63");
    assert_eq!(StreamId::Catalogue.name(), "CONTROL_PLANE_CATALOGUE");
}

fn positions() -> impl Strategy<Value = Positions> {
    let position = (prop::option::of(0_u8..64), any::<u64>()).prop_map(|(index, sequence)| {
        index.map_or_else(|| catalogue(sequence), |index| log(index, sequence))
    });
    prop::collection::vec(position, 0..8).prop_map(|list| set(&list))
}

proptest! {
    #![proptest_config(super::properties())]

    #[test]
    fn a_token_reads_back(positions in positions()) {
        prop_assert_eq!(positions.to_string().parse::<Positions>(), Ok(positions.clone()));
        let json = serde_json::to_value(&positions).unwrap();
        prop_assert_eq!(serde_json::from_value::<Positions>(json).unwrap(), positions);
    }

    #[test]
    fn a_reader_that_advances_covers_what_it_covered(before in positions(), next in positions()) {
        let mut after = before.clone();
        next.iter().for_each(|position| after.advance(position));
        prop_assert!(after.covers(&before) && after.covers(&next));
    }

    #[test]
    fn any_other_text_is_refused_or_is_the_one_spelling(text in "v1(\\.[0-9c]{1,3}-[0-9a-f]{1,4}){0,3}") {
        if let Ok(positions) = text.parse::<Positions>() {
            prop_assert_eq!(positions.to_string(), text);
        }
    }
}
