//! A configuration for nats-server with one user per service and worker, each with its
//! permissions and no more, and an account for each caller.
//!
//! Permissions say what a user publishes, and not where it has an answer sent: `JetStream`
//! acknowledges to whatever subject a publisher named, with every right. In an account of its own a
//! caller has its answers there, whatever it names, and the subjects of the log do not exist.

use std::fmt::Write as _;

use contracts::ids::{PrincipalId, WorkspaceId};

use crate::permissions::{self, Permissions, caller_name};

/// What survives what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Kill -9 of any process. What the machine had not written is lost with it.
    Process,
    /// A power cut: every acknowledged event is fsynced.
    Disk,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    /// Plain, or a bcrypt hash as `nats server passwd` gives it.
    pub password: String,
    pub permissions: Permissions,
}

/// For whoever puts the configuration in the place of an older one.
const NOTE: &str = "\
# The log is in the account CONTROL_PLANE, and each caller has an account of its own.
# Streams that were made while there was one account for all are in the folder `jetstream/$G` of the
# store: stop the server and rename it to `jetstream/CONTROL_PLANE`. In a cluster, which keeps who has
# which stream elsewhere too, take them over with `nats stream backup` and `nats stream restore`.
# Of a running server a reload takes two signals before accounts that are new are answered.
";

/// The account of services and workers, in which the streams are.
pub const ACCOUNT: &str = "CONTROL_PLANE";

impl User {
    /// As whom a principal asks, and publishes intents.
    pub fn caller(workspace: &WorkspaceId, principal: &PrincipalId, password: String) -> Self {
        Self {
            name: caller_name(workspace, principal),
            password,
            permissions: permissions::caller(workspace, principal),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Such as `127.0.0.1:4222`; port -1 is any free one.
    pub listen: String,
    pub data_directory: String,
    pub durability: Durability,
    /// Without it, whoever is on the way reads passwords and events.
    pub tls: Option<ServerTls>,
    /// Services, workers, and who looks after them.
    pub users: Vec<User>,
    /// Each in an account of its own, called as it is, which imports what it may publish.
    pub callers: Vec<User>,
}

/// What the broker's connections are encrypted with: files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    pub cert_file: String,
    pub key_file: String,
    /// Of whose certificates every client must show one.
    pub client_ca_file: Option<String>,
}

impl ServerConfig {
    pub fn render(&self) -> String {
        let mut text = NOTE.to_owned();
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "listen: {}", quoted(&self.listen));
        let sync = match self.durability {
            Durability::Process => "",
            Durability::Disk => "  sync_interval: always\n",
        };
        let _ = write!(
            text,
            "jetstream {{\n  store_dir: {}\n{sync}}}\n",
            quoted(&self.data_directory)
        );
        if let Some(tls) = &self.tls {
            render_tls(&mut text, tls);
        }
        let _ = writeln!(text, "accounts {{\n  {ACCOUNT} {{\n    jetstream: enabled");
        render_list(&mut text, "exports", &self.callers, |text, caller| {
            let account = quoted(&caller.name);
            for subject in &caller.permissions.publish {
                let subject = quoted(subject);
                let _ = writeln!(
                    text,
                    "      {{ service: {subject}, accounts: [{account}] }}"
                );
            }
        });
        render_list(&mut text, "users", &self.users, render_user);
        text.push_str("  }\n");
        for caller in &self.callers {
            let _ = writeln!(text, "  {} {{", quoted(&caller.name));
            let imports = &caller.permissions.publish;
            render_list(&mut text, "imports", imports, |text, subject| {
                let subject = quoted(subject);
                let _ = writeln!(
                    text,
                    "      {{ service: {{ account: {ACCOUNT}, subject: {subject} }} }}"
                );
            });
            render_list(&mut text, "users", [caller], render_user);
            text.push_str("  }\n");
        }
        text.push_str("}\n");
        text
    }
}

fn render_tls(text: &mut String, tls: &ServerTls) {
    let (cert, key) = (quoted(&tls.cert_file), quoted(&tls.key_file));
    let _ = write!(text, "tls {{\n  cert_file: {cert}\n  key_file: {key}\n");
    if let Some(authorities) = &tls.client_ca_file {
        let _ = write!(text, "  ca_file: {}\n  verify: true\n", quoted(authorities));
    }
    text.push_str("}\n");
}

fn render_list<T>(
    text: &mut String,
    name: &str,
    items: impl IntoIterator<Item = T>,
    render: impl Fn(&mut String, T),
) {
    let _ = writeln!(text, "    {name}: [");
    for item in items {
        render(text, item);
    }
    text.push_str("    ]\n");
}

fn render_user(text: &mut String, user: &User) {
    let Permissions {
        publish,
        subscribe,
        allow_responses,
    } = &user.permissions;
    let _ = write!(
        text,
        "      {{\n        user: {}\n        password: {}\n        permissions: {{\n",
        quoted(&user.name),
        quoted(&user.password)
    );
    for (verb, subjects) in [("publish", publish), ("subscribe", subscribe)] {
        // An empty list of what is allowed would allow everything.
        if subjects.is_empty() {
            let _ = writeln!(text, "          {verb}: {{ deny: [\">\"] }}");
        } else {
            let list: Vec<_> = subjects.iter().map(|subject| quoted(subject)).collect();
            let _ = writeln!(text, "          {verb}: {{ allow: [{}] }}", list.join(", "));
        }
    }
    if *allow_responses {
        // One answer a request, for as long as a call may take.
        text.push_str("          allow_responses: { max: 1, expires: \"16m\" }\n");
    }
    text.push_str("        }\n      }\n");
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}
