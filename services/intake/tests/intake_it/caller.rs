//! Requests written byte by byte, so that also what no client would send can be sent.

use std::{fmt::Write as _, net::SocketAddr};

use contracts::{problem::Code, registry::OperationName};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::conforming::{check_answer, check_problem};

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(held, _)| held == name)?;
        Some(value)
    }

    #[track_caller]
    pub fn ok(&self) -> &Value {
        assert!(matches!(self.status, 200 | 201), "{self:#?}");
        &self.body
    }

    #[track_caller]
    pub fn text(&self, member: &str) -> String {
        self.ok()[member].as_str().expect(member).to_owned()
    }

    /// It is this problem, with its status and all that a problem has.
    #[track_caller]
    pub fn is(&self, code: Code) -> &Self {
        assert_eq!(self.body["code"], code.as_str(), "{self:#?}");
        assert_eq!(self.status, code.http(), "{self:#?}");
        assert_eq!(self.body["status"], self.status);
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let kind = format!("urn:control-plane:problem:{code}");
        assert_eq!(self.body["type"], kind.as_str());
        assert!(self.body["title"].is_string() && self.body["detail"].is_string());
        self
    }

    /// `code path` of each finding.
    pub fn findings(&self) -> Vec<String> {
        let findings = self.body["findings"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        findings
            .iter()
            .map(|finding| {
                let text = |member: &str| finding[member].as_str().unwrap().to_owned();
                format!("{} {}", text("code"), text("path"))
            })
            .collect()
    }
}

/// One request on a connection of its own.
pub async fn raw(address: SocketAddr, head: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    // A refusal may come, and the connection go, before all is written.
    let _ = stream.write_all(body).await;
    let mut read = Vec::new();
    let _ = stream.read_to_end(&mut read).await;
    parse(&read)
}

pub fn parse(read: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(read);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {text}"));
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Answer {
        status,
        headers,
        body: serde_json::from_str(body).unwrap_or(Value::Null),
    }
}

/// A `GET` of `path` without a credential.
pub async fn get(address: SocketAddr, path: &str) -> Answer {
    let head = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    raw(address, &head, b"").await
}

/// A `POST` to `path`, with these headers instead of those that are usual.
pub async fn post(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut head = format!("POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(head, "content-length: {}\r\n\r\n", body.len());
    raw(address, &head, body).await
}

/// What is answered must be as it is published, and among what the registry says of the operation.
#[track_caller]
pub fn check_registered(operation: &str, answer: &Answer) {
    let name = OperationName::parse(&format!("controlPlane.{operation}")).unwrap();
    let Some(code) = answer.body["code"].as_str() else {
        check_answer(name, &answer.body);
        return;
    };
    check_problem(&answer.body);
    let code: Code = code.parse().unwrap();
    let registered = name.entry().all_errors().any(|error| error == code);
    assert!(
        registered,
        "`{operation}` answers {code}, which the registry does not list"
    );
}
