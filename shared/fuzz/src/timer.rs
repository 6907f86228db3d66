//! Wake-ups, as they are published.

use journal::timer::Timer;

pub fn holds(bytes: &[u8]) {
    let Ok(timer) = Timer::from_bytes(bytes) else {
        return;
    };
    let again = Timer::from_bytes(&timer.to_bytes()).expect("what was read can be written");
    assert_eq!(again, timer);
    assert_eq!(again.id(), timer.id());
}
