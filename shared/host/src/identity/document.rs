//! The file of identity providers: whose tokens are good, and what their claims mean here.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use contracts::{facts::ActorType, ids::WorkspaceId, plan::Finding, registry::Role};
use reqwest::Url;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::http::{
    body,
    input::{self, INVALID_VALUE, finding},
};

/// Of the file.
pub const BYTES_MAX: usize = 1024 * 1024;

/// Any workspace but the global one, in [`Workspace::among`].
const ANY: &str = "*";

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("$id" = "urn:control-plane:configuration:identity-providers"))]
pub struct Document {
    #[schemars(length(max = 32))]
    pub providers: Vec<Provider>,
}

/// Someone whose signed tokens (JWT) are let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Provider {
    /// Stands before the id of each of its principals, as `<name>:<claim>`, so that no two
    /// providers and no principal of the principals file can be taken for each other.
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9-]{0,31}$"))]
    pub name: String,
    /// What the claim `iss` has to be, to the letter.
    #[schemars(length(min = 1, max = 512))]
    pub issuer: String,
    /// One of these has to be in the claim `aud`.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 512)))]
    pub audiences: Vec<String>,
    pub keys: Keys,
    /// What its tokens may be signed with. A key is only used for what it is made for.
    #[schemars(length(min = 1))]
    pub algorithms: Vec<Algorithm>,
    /// What the header `typ` may be; a token without one is taken too.
    #[serde(default = "usual_types")]
    #[schemars(length(min = 1, max = 8))]
    pub types: Vec<String>,
    /// By how much the provider's clock and this one may differ.
    #[serde(default = "usual_skew")]
    #[schemars(range(max = 300))]
    pub clock_skew_seconds: u32,
    /// For how long a token may be good: it cannot be taken back, but here.
    #[serde(default = "usual_lifetime")]
    #[schemars(range(min = 1, max = 604_800))]
    pub max_lifetime_seconds: u32,
    /// Where in the claims the principal is named, such as `/sub`.
    pub principal: Pointer,
    pub workspace: Workspace,
    #[serde(rename = "type")]
    pub kind: Kind,
    /// From the provider's names to the roles of `schemas/grants.md`. What is not named here
    /// grants nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Mapped<Role>>,
    /// From the provider's names to grants, those of the registry and any that policies name as
    /// approvers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Mapped<String>>,
    /// Whose tokens are refused although they are not over.
    #[serde(default)]
    pub revoked: Revoked,
}

/// A JSON pointer into the claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Pointer(#[schemars(regex(pattern = "^(/([^~/]|~[01])*)+$"), length(max = 256))] String);

impl Pointer {
    pub fn of<'a>(&self, claims: &'a Value) -> Option<&'a Value> {
        claims.pointer(&self.0)
    }
}

/// Where the provider's public keys (JWKS) are: in a file, or at a URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Keys {
    /// Read again when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// `https:`, or `http:` on this machine. Redirects are not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Who vouches for the server at the URL (PEM), read again when it changes; the machine's
    /// authorities where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How long to wait at least before the keys are fetched again because a token names an
    /// unknown one, or names none and is not signed with one that is known.
    #[serde(default = "usual_refetch")]
    #[schemars(range(min = 1, max = 3600))]
    pub refetch_seconds: u32,
    /// How old the keys may become before they are fetched again with the next token. A key that
    /// the provider takes back is good here for about as long.
    #[serde(default = "usual_age")]
    #[schemars(range(min = 1, max = 86_400))]
    pub max_age_seconds: u32,
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Algorithm {
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "PS256")]
    Ps256,
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    /// Nothing for every other one, and above all for `none` and those with shared secrets.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "RS256" => Some(Self::Rs256),
            "PS256" => Some(Self::Ps256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// The workspace of the provider's principals: one for all, or by a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workspace {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constant: Option<WorkspaceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Pointer>,
    /// What the claim may name; `*` is every workspace but `global`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub among: Vec<String>,
}

impl Workspace {
    pub fn allows(&self, workspace: &WorkspaceId) -> bool {
        self.among.iter().any(|allowed| {
            allowed == workspace.as_str() || (allowed == ANY && !workspace.is_global())
        })
    }
}

/// What the provider's principals are: all the same, or by a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kind {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constant: Option<ActorType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Pointer>,
    /// What the claim's values stand for. A token with another value is refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, ActorType>,
}

/// A claim that holds names: an array of texts, or one text with spaces between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mapped<T> {
    pub claim: Pointer,
    pub values: BTreeMap<String, Vec<T>>,
}

/// What counts no more, with effect within a second.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Revoked {
    /// Values of the claim `jti`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Values of the claim `sub`, or of the claim that names the principal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
}

fn usual_types() -> Vec<String> {
    ["JWT", "at+jwt"].map(str::to_owned).to_vec()
}

fn usual_skew() -> u32 {
    60
}

fn usual_lifetime() -> u32 {
    7200
}

fn usual_refetch() -> u32 {
    10
}

fn usual_age() -> u32 {
    600
}

impl Document {
    /// Everything that is wrong with the text, each with its place.
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<Finding>> {
        if bytes.len() > BYTES_MAX {
            let message = format!("the file may have at most {BYTES_MAX} bytes");
            return Err(vec![finding(String::new(), INVALID_VALUE, message)]);
        }
        let members = body::parse(bytes).map_err(|problem| {
            if problem.findings.is_empty() {
                vec![finding(String::new(), INVALID_VALUE, problem.detail)]
            } else {
                problem.findings
            }
        })?;
        let schema = schemars::schema_for!(Self).to_value();
        let document: Self = input::fitting(&schema, &Value::Object(members))?;
        let faults = document.faults();
        if faults.is_empty() {
            Ok(document)
        } else {
            Err(faults)
        }
    }

    fn faults(&self) -> Vec<Finding> {
        let mut faults = Vec::new();
        for (at, provider) in self.providers.iter().enumerate() {
            let before = self.providers.get(..at).unwrap_or_default();
            let mut fault = |member: &str, message: &str| {
                let path = format!("/providers/{at}/{member}");
                faults.push(finding(path, INVALID_VALUE, message.to_owned()));
            };
            if before.iter().any(|other| other.name == provider.name) {
                fault("name", "another provider has this name");
            }
            if before.iter().any(|other| other.issuer == provider.issuer) {
                fault("issuer", "another provider has this issuer");
            }
            check_keys(&provider.keys, &mut fault);
            check_workspace(&provider.workspace, &mut fault);
            match (&provider.kind.constant, &provider.kind.claim) {
                (Some(_), None) if provider.kind.values.is_empty() => {}
                (None, Some(_)) if !provider.kind.values.is_empty() => {}
                (_, _) => fault("type", "give `constant`, or `claim` and `values`"),
            }
        }
        faults
    }
}

fn check_keys(keys: &Keys, fault: &mut impl FnMut(&str, &str)) {
    match (&keys.file, &keys.url) {
        (Some(_), None) if keys.ca_file.is_none() => {}
        (Some(_), None) => fault("keys/caFile", "a file needs no authority: leave this out"),
        (None, Some(url)) => {
            if !is_fetchable(url) {
                fault(
                    "keys/url",
                    "use `https:`, or `http:` with an address of this machine; without user, \
                     password and fragment",
                );
            }
        }
        (_, _) => fault("keys", "give `file` or `url`"),
    }
}

fn check_workspace(workspace: &Workspace, fault: &mut impl FnMut(&str, &str)) {
    match (&workspace.constant, &workspace.claim) {
        (Some(_), None) if workspace.among.is_empty() => {}
        (None, Some(_)) if !workspace.among.is_empty() => {}
        (_, _) => fault("workspace", "give `constant`, or `claim` and `among`"),
    }
    for (at, allowed) in workspace.among.iter().enumerate() {
        if allowed != ANY && allowed.parse::<WorkspaceId>().is_err() {
            fault(
                &format!("workspace/among/{at}"),
                "name a workspace, or `*` for all but `global`",
            );
        }
    }
}

/// Keys that anyone on the way could change would let anyone in.
fn is_fetchable(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else {
        return false;
    };
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_here = host == "localhost" || address.parse::<IpAddr>().is_ok_and(|it| it.is_loopback());
    let is_plain =
        url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    is_plain && !host.is_empty() && (url.scheme() == "https" || (url.scheme() == "http" && is_here))
}
