//! Wake-ups, as they are published.

use journal::timer::Timer;

use crate::Reached;

pub const PROPERTIES: &[&str] = &["a timer"];

pub fn holds(bytes: &[u8]) -> Reached {
    let Ok(timer) = Timer::from_bytes(bytes) else {
        return Reached::new();
    };
    let again = Timer::from_bytes(&timer.to_bytes()).expect("what was read can be written");
    assert_eq!(again, timer);
    assert_eq!(again.id(), timer.id());
    Reached::from(["a timer"])
}
