//! Events as they are stored: a subject, headers and a payload.

use contracts::{
    envelope::{Attributes, Headers},
    event::Event,
};
use journal::stored::Raw;

use crate::{Reached, message::Message};

pub const PROPERTIES: &[&str] = &["an event"];

/// The subject in the first line, a header in each of the next, and after an empty line the
/// payload.
pub fn holds(bytes: &[u8]) -> Reached {
    let Some(message) = Message::read(bytes) else {
        return Reached::new();
    };
    let raw = Raw {
        subject: message.first.to_owned(),
        headers: message.headers(),
        payload: message.body.to_vec().into(),
    };
    let Ok(recorded) = raw.decode() else {
        return Reached::new();
    };
    let envelope = raw.envelope().expect("what decodes has an envelope");
    assert_eq!(envelope.hash(), recorded.hash);
    assert_eq!(envelope.subject, recorded.subject);
    let headers = recorded.attributes.to_headers();
    assert_eq!(
        Attributes::from_headers(&headers).as_ref(),
        Ok(&recorded.attributes)
    );
    assert_eq!(Headers::from_wire(headers.iter()).as_ref(), Ok(&headers));
    let event = &recorded.event;
    let encoded = event.encode().expect("what was read can be written");
    assert_eq!(&Event::decode(event.name(), &encoded).unwrap(), event);
    let json = event.to_json().expect("an event can be shown");
    assert_eq!(&Event::from_json(event.name(), json).unwrap(), event);
    Reached::from(["an event"])
}
