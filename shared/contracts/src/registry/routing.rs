//! Which service answers what, for whatever puts both under one address: a reverse proxy needs no
//! more than this rule.

use super::{Kind, OperationName, RESOURCES, Resource};
use crate::subject::ROOT;

/// What is published of the API, beside what is below [`PREFIX`].
pub const PUBLISHED: [&str; 2] = ["/openapi.json", "/asyncapi.json"];

/// Before every operation and resource.
pub const PREFIX: &str = "/v1/";

/// Queries are the projector's, by whatever method they are asked; what else is posted is a
/// command, and intake's. Nothing for what is no path of the API.
pub fn served_by(method: &str, path: &str) -> Option<Kind> {
    if PUBLISHED.contains(&path) {
        return Some(Kind::Query);
    }
    let name = path.strip_prefix(PREFIX)?;
    match operation(name) {
        Some(operation) if operation.entry().kind == Kind::Query => Some(Kind::Query),
        Some(_) | None if method == "POST" => Some(Kind::Command),
        Some(_) | None => Some(Kind::Query),
    }
}

/// The operation of this name, with or without `controlPlane.` before it.
pub fn operation(name: &str) -> Option<OperationName> {
    OperationName::parse(name).or_else(|| OperationName::parse(&format!("{ROOT}.{name}")))
}

/// The resource at this path.
pub fn resource(path: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|resource| resource.is_at(path))
}

impl Resource {
    /// The method it is asked by.
    pub fn method(&self) -> &'static str {
        match self.operation.entry().kind {
            Kind::Command => "POST",
            Kind::Query => "GET",
        }
    }

    fn is_at(&self, path: &str) -> bool {
        let mut parts = path.split('/');
        let mut wanted = self.path.split('/');
        loop {
            match (wanted.next(), parts.next()) {
                (None, None) => return true,
                (Some(wanted), Some(part)) if wanted == part || wanted.starts_with('{') => {}
                (_, _) => return false,
            }
        }
    }
}
