//! Where spans are sent: the settings that OpenTelemetry has named, so that nobody needs to learn
//! others. Without an endpoint nothing is exported.

use std::time::Duration;

use super::{ConfigError, Secret, var};

/// A collector that speaks OTLP over HTTP.
#[derive(Debug, Clone)]
pub struct Traces {
    /// Where spans are posted, path and all.
    pub endpoint: String,
    /// Sent with each request; a token may be among them.
    pub headers: Vec<(String, Secret)>,
    /// How long one request may take.
    pub timeout: Duration,
    /// What else is said of this process.
    pub resource: Vec<(String, String)>,
    /// Instead of `control-plane-<service>`.
    pub service_name: Option<String>,
}

/// The names of the settings.
pub mod names {
    /// Where a collector listens; `/v1/traces` is appended.
    pub const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    /// Instead, where spans are posted exactly.
    pub const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    /// `http/protobuf` is spoken, and nothing else.
    pub const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
    pub const TRACES_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
    pub const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
    pub const TRACES_HEADERS: &str = "OTEL_EXPORTER_OTLP_TRACES_HEADERS";
    /// In milliseconds.
    pub const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
    pub const TRACES_TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT";
    pub const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
    pub const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
    pub const TRACES_EXPORTER: &str = "OTEL_TRACES_EXPORTER";
    pub const DISABLED: &str = "OTEL_SDK_DISABLED";
}

const TIMEOUT: Duration = Duration::from_secs(10);

impl Traces {
    /// Nothing where no endpoint is named, or where it is said that nothing is to be sent.
    pub fn from_env() -> Result<Option<Self>, ConfigError> {
        let off = var(names::DISABLED).is_some_and(|text| text.eq_ignore_ascii_case("true"))
            || var(names::TRACES_EXPORTER).is_some_and(|text| text == "none");
        let (name, endpoint) = match (var(names::TRACES_ENDPOINT), var(names::ENDPOINT)) {
            _ if off => return Ok(None),
            (Some(exact), _) => (names::TRACES_ENDPOINT, exact),
            (None, Some(base)) => {
                let base = base.trim_end_matches('/');
                (names::ENDPOINT, format!("{base}/v1/traces"))
            }
            (None, None) => return Ok(None),
        };
        if !is_http(&endpoint) {
            // It may hold a password.
            return Err(hidden(name, "use `http://<host>:<port>` or `https://…`"));
        }
        for name in [names::TRACES_PROTOCOL, names::PROTOCOL] {
            match var(name) {
                Some(value) if value != "http/protobuf" => {
                    return Err(ConfigError::Invalid {
                        name,
                        value,
                        expected: "only `http/protobuf` is spoken, usually on port 4318",
                    });
                }
                Some(_) => break,
                None => {}
            }
        }
        Ok(Some(Self {
            endpoint,
            headers: headers()?,
            timeout: first(names::TRACES_TIMEOUT, names::TIMEOUT)
                .map(|(name, value)| milliseconds(name, value))
                .transpose()?
                .unwrap_or(TIMEOUT),
            resource: pairs(
                names::RESOURCE_ATTRIBUTES,
                &var(names::RESOURCE_ATTRIBUTES).unwrap_or_default(),
            )?,
            service_name: var(names::SERVICE_NAME),
        }))
    }
}

impl Traces {
    /// The collector without path or credentials, to be shown.
    pub fn origin(&self) -> String {
        reqwest::Url::parse(&self.endpoint)
            .map(|url| url.origin().ascii_serialization())
            .unwrap_or_default()
    }
}

fn is_http(endpoint: &str) -> bool {
    reqwest::Url::parse(endpoint)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn headers() -> Result<Vec<(String, Secret)>, ConfigError> {
    let Some((name, value)) = first(names::TRACES_HEADERS, names::HEADERS) else {
        return Ok(Vec::new());
    };
    let pairs = pairs(name, &value)?.into_iter();
    Ok(pairs.map(|(key, value)| (key, Secret(value))).collect())
}

fn milliseconds(name: &'static str, value: String) -> Result<Duration, ConfigError> {
    match value.parse::<u64>() {
        Ok(ms) if ms > 0 => Ok(Duration::from_millis(ms)),
        Ok(_) | Err(_) => Err(ConfigError::Invalid {
            name,
            value,
            expected: "use milliseconds",
        }),
    }
}

/// The narrower setting, else the wider one.
fn first(narrow: &'static str, wide: &'static str) -> Option<(&'static str, String)> {
    [narrow, wide]
        .into_iter()
        .find_map(|name| Some((name, var(name)?)))
}

/// `key=value,key=value`, values percent-encoded.
fn pairs(name: &'static str, text: &str) -> Result<Vec<(String, String)>, ConfigError> {
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    parts
        .map(|part| {
            let (key, value) = part.split_once('=')?;
            let key = key.trim();
            (!key.is_empty()).then(|| Some((key.to_owned(), decoded(value.trim())?)))?
        })
        .collect::<Option<_>>()
        .ok_or_else(|| hidden(name, "use `key=value,key=value`, values percent-encoded"))
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let pair = [rest.next()?, rest.next()?];
            let pair = std::str::from_utf8(&pair).ok()?;
            bytes.push(u8::from_str_radix(pair, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn hidden(name: &'static str, expected: &'static str) -> ConfigError {
    ConfigError::Invalid {
        name,
        value: "(not shown)".to_owned(),
        expected,
    }
}
