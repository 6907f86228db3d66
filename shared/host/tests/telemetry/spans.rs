//! What a collector is sent.

use std::fmt::Write as _;

use contracts::{
    canonical::Digest,
    event::{Event, Service},
    ids::EventId,
    record::{Cause, Head, seal},
    subject::AggregateId,
    time::Timestamp,
};
use host::trace::{
    otlp,
    span::{Context, Kind, Span, SpanId, TraceId, Value},
    told::{self, Parent},
};
use prost::Message as _;
use uuid::Uuid;

/// What the crate that is generated from the protocol's own definitions writes for the same spans.
const BYTES: &str = "\
    0ade020a2a0a280a0c736572766963652e6e616d6512180a16636f6e74726f6c2d706c616e652d6578656375746f72\
    12af020a160a0d636f6e74726f6c2d706c616e651205302e312e3012410a100102030405060708090a0b0c0d0e0f10\
    120811121314151617182a0f696e74656e742e726563656976656430013900002a36fe9c97174180b21045fe9c9717\
    1286010a100102030405060708090a0b0c0d0e0f1012082122232425262728220811121314151617182a1363616c6c\
    20636f72652e6563686f2f6563686f30033900002a36fe9c97174180b21045fe9c97174a0b0a016112060a04746578\
    744a070a0162120210014a100a0163120b18fdffffffffffffffff017a0d120954494d45445f4f5554180212490a10\
    0102030405060708090a0b0c0d0e0f101208292a2b2c2d2e2f30220811121314151617182a0d696e74656e742e7375\
    626d697430023900002a36fe9c97174100002a36fe9c9717";

fn span(id: u8, name: &'static str, kind: Kind, took_ms: u64) -> Span {
    let began = Timestamp::from_millis(1_700_000_000_000);
    Span {
        context: Context {
            trace: TraceId(std::array::from_fn(|index| {
                1 + u8::try_from(index).unwrap()
            })),
            span: ids(id),
            is_sampled: true,
        },
        parent: None,
        name: name.into(),
        kind,
        began,
        ended: began.plus_ms(took_ms),
        attributes: Vec::new(),
        error: None,
    }
}

fn ids(first: u8) -> SpanId {
    SpanId(std::array::from_fn(|index| {
        first + u8::try_from(index).unwrap()
    }))
}

#[test]
fn the_bytes_are_those_of_the_protocol() {
    let resource = otlp::resource([(
        "service.name".to_owned(),
        "control-plane-executor".to_owned(),
    )]);
    let call = Span {
        parent: Some(ids(17)),
        attributes: vec![
            ("a", "text".into()),
            ("b", true.into()),
            ("c", host::trace::span::Value::Number(-3)),
        ],
        error: Some("TIMED_OUT".to_owned()),
        ..span(33, "call core.echo/echo", Kind::Client, 250)
    };
    let request = Span {
        parent: Some(ids(17)),
        ..span(41, "intent.submit", Kind::Server, 0)
    };
    let spans = [
        span(17, "intent.received", Kind::Internal, 250),
        call,
        request,
    ];

    let message = otlp::request(&resource, &spans);

    let bytes = message.encode_to_vec();
    let hex = bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    assert_eq!(hex, BYTES);
    assert_eq!(
        otlp::ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap(),
        message
    );
}

#[test]
fn a_span_is_named_by_its_event() {
    let id = EventId::of(Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff));
    assert_eq!(SpanId::of_event(id).to_string(), "0011223344556677");
    assert_ne!(SpanId::of_call(id), SpanId::of_event(id));
    assert_eq!(SpanId::of_call(id), SpanId::of_call(id));
}

#[test]
fn a_context_reads_what_it_writes() {
    let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let context = Context::parse(text).unwrap();
    assert_eq!(context.to_string(), text);
    let unwanted = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02";
    assert!(!Context::parse(unwanted).unwrap().is_sampled);
    assert_eq!(Context::parse("00-short-00f067aa0ba902b7-01"), None);
}

const ID: &str = "0198f3a0-7c1e-7d2a-9b3c-4d5e6f708192";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn failed() -> Event {
    let payload = serde_json::json!({
        "executionId": ID,
        "runId": format!("{ID}:1"),
        "stepId": "refund",
        "failedAt": "2026-01-02T03:04:05.678Z",
        "attempt": 2,
        "errorCode": "TIMED_OUT",
        "errorMessage": "Ada's card was refused",
        "retryable": true,
        "outcome": "unknown",
        "rules": 1,
    });
    Event::from_json(contracts::event::EventName::StepFailed, payload).unwrap()
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + ms)
}

/// Of the failed end of a step, 900 ms after the event before it.
fn told(traceparent: Option<&str>, wake: Option<EventId>, parent: Parent) -> Option<Span> {
    let aggregate = AggregateId::execution("demo".parse().unwrap(), ID.parse().unwrap());
    let head = Head {
        version: 6,
        hash: Digest::of(b"before"),
        time: at(100),
    };
    let cause = Cause {
        id: wake,
        traceparent: traceparent.map(str::to_owned),
    };
    let sealed = seal(
        &aggregate,
        Some(&head),
        failed(),
        Service::Executor,
        &cause,
        at(1000),
    );
    let (_, recorded) = sealed.unwrap();
    let span = told::span(&recorded, Some(&head), &cause, parent)?;
    assert_eq!(span.context.span, SpanId::of_event(recorded.id()));
    let stored = recorded.attributes.traceparent.unwrap();
    assert_eq!(stored, span.context.to_string());
    Some(span)
}

#[test]
fn it_lasts_from_the_event_before_and_hangs_from_its_cause() {
    let wake = EventId::of(Uuid::from_u128(7 << 64));
    let span = told(Some(TRACE), Some(wake), Parent::Cause).unwrap();
    assert_eq!((span.began, span.ended), (at(100), at(1000)));
    assert_eq!(span.parent, Some(SpanId::of_event(wake)));
    assert_eq!(span.name, "execution.step.failed");
    assert_eq!(span.error.as_deref(), Some("TIMED_OUT"));
    let said = |key: &str| span.attributes.iter().find(|(name, _)| *name == key);
    let text = |key: &str| said(key).map(|(_, value)| value.clone());
    assert_eq!(text(told::STEP), Some("refund".into()));
    assert_eq!(text(told::EXECUTION), Some(ID.into()));
    assert_eq!(text(told::ATTEMPT), Some(Value::Number(2)));
    // What a worker says of its inputs is not for a collector.
    assert!(!format!("{span:?}").contains("Ada"));
}

#[test]
fn what_no_event_of_its_aggregate_led_to_hangs_from_the_first() {
    let first = Context::parse(TRACE).unwrap().span;
    let timer = EventId::of(Uuid::from_u128(9 << 64));
    let span = told(Some(TRACE), Some(timer), Parent::Trace).unwrap();
    assert_eq!(span.parent, Some(first));
    let span = told(Some(TRACE), None, Parent::Cause).unwrap();
    assert_eq!(span.parent, Some(first));
    let span = told(Some(TRACE), None, Parent::Root).unwrap();
    assert_eq!(span.parent, None);
}

#[test]
fn the_end_of_a_call_hangs_from_the_call() {
    let parent = Parent::Span {
        id: ids(5),
        ended: at(990),
    };
    let span = told(Some(TRACE), None, parent).unwrap();
    assert_eq!(span.parent, Some(ids(5)));
    assert_eq!((span.began, span.ended), (at(990), at(1000)));
}

#[test]
fn nothing_is_told_that_is_in_no_trace_or_that_nobody_wants() {
    assert_eq!(told(None, None, Parent::Cause), None);
    let unwanted = TRACE.replace("-01", "-00");
    assert_eq!(told(Some(&unwanted), None, Parent::Cause), None);
}
