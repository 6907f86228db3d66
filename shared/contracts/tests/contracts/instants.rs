//! Instants in text: as they are printed, and every form that is taken.

use contracts::time::Timestamp;
use proptest::prelude::*;

#[track_caller]
fn check(text: &str, ms: Option<i64>) {
    let parsed = text.parse::<Timestamp>().ok().map(Timestamp::as_millis);
    assert_eq!(parsed, ms, "{text}");
}

#[test]
fn the_own_form_and_the_others_are_the_same_instants() {
    check("1970-01-01T00:00:00.000Z", Some(0));
    check("2026-12-01T05:04:03.021Z", Some(1_796_101_443_021));
    check("2026-12-01T05:04:03.0210Z", Some(1_796_101_443_021));
    check("2026-12-01T06:04:03.021+01:00", Some(1_796_101_443_021));
    check("2026-12-01t05:04:03.021z", Some(1_796_101_443_021));
    check("0000-01-01T00:00:00.000Z", Some(-62_167_219_200_000));
    check("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999));
    check("2024-02-29T00:00:00.000Z", Some(1_709_164_800_000));
}

#[test]
fn what_is_no_instant_is_refused_in_the_own_form_too() {
    for text in [
        "2026-02-29T00:00:00.000Z",
        "2026-13-01T00:00:00.000Z",
        "2026-00-01T00:00:00.000Z",
        "2026-12-01T24:00:00.000Z",
        "2026-12-01T00:60:00.000Z",
        "2026-12-01T00:00:00,000Z",
        "2026-12-01T00:00:00.00aZ",
        "+026-12-01T00:00:00.000Z",
        "2026-12-01T00:00:00.000X",
        "",
    ] {
        check(text, None);
    }
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(ms in -62_167_219_200_000_i64..=253_402_300_799_999) {
        let text = Timestamp::from_millis(ms).to_string();
        prop_assert_eq!(text.len(), 24);
        prop_assert_eq!(text.parse::<Timestamp>().unwrap().as_millis(), ms);
        // The general way, which any longer fraction takes.
        let longer = format!("{}0Z", text.trim_end_matches('Z'));
        prop_assert_eq!(longer.parse::<Timestamp>().unwrap().as_millis(), ms);
    }
}
