//! `intent submit`

use std::{
    fs,
    io::{Read as _, stdin},
    path::{Path, PathBuf},
};

use contracts::{operations::intent::SubmitOutput, registry::OperationName, time::Timestamp};
use serde_json::{Map, Value, json};

use crate::{command::Global, failure::Failure, screen::Screen, watch};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Ask for something in words; it becomes an execution
    Submit(Box<Submit>),
}

#[derive(Debug, clap::Args)]
pub struct Submit {
    /// What is asked for
    #[arg(required_unless_present = "file", value_parser = words)]
    text: Option<String>,
    /// A whole request as JSON, as `controlPlane.intent.submit` takes it; options override it
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A parameter of the playbook: `name=text`, or `name:=JSON` for a number and the like
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    params: Vec<(String, Value)>,
    /// Use this playbook, whatever the words are
    #[arg(long, value_name = "NAME")]
    playbook: Option<String>,
    /// A plan draft: a file, `-` for standard input, or the JSON itself
    #[arg(long, value_name = "FILE|JSON")]
    draft: Option<String>,
    /// Where it comes from, such as `support-desk`
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// An idempotency key: the same request under the same key is the same execution
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Whether the control plane goes on by itself, or waits to be told after each stage
    #[arg(long, value_name = "WHEN", value_parser = ["auto", "manual"])]
    start: Option<String>,
    /// As the verdicts say, every step by a human, or judged only
    #[arg(long, value_name = "MODE", value_parser = ["autonomous", "assist", "observe"])]
    mode: Option<String>,
    /// An instant after which it ends, such as `2030-01-31T12:00:00Z`
    #[arg(long, value_name = "INSTANT")]
    deadline: Option<Timestamp>,
    /// Follow it until it ends
    #[arg(long)]
    watch: bool,
}

pub async fn run(command: Command, global: &Global) -> Result<(), Failure> {
    let Command::Submit(submit) = command;
    let session = global.session("submitter")?;
    let body = submit.body(session.api.workspace.as_str())?;
    let output: SubmitOutput = session
        .api
        .ask_once(OperationName::IntentSubmit, &body, submit.key.as_deref())
        .await?;
    tell(session.screen, &output);
    if submit.watch {
        watch::follow(&session, output.execution_id).await
    } else {
        session.screen.line(&session.screen.faint(&format!(
            "follow it with: {} execution watch {}",
            global.typed(),
            output.execution_id
        )));
        Ok(())
    }
}

fn tell(screen: Screen, output: &SubmitOutput) {
    screen.answer(output, || {
        format!(
            "execution {}  {}",
            output.execution_id,
            screen.state(output.status.as_str())
        )
    });
}

impl Submit {
    fn body(&self, workspace: &str) -> Result<Map<String, Value>, Failure> {
        let mut body = match &self.file {
            Some(path) => object(&read(path)?, &path.display().to_string())?,
            None => Map::new(),
        };
        body.entry("workspaceId")
            .or_insert_with(|| json!(workspace));
        let given = [
            ("text", self.text.as_ref().map(|text| json!(text))),
            (
                "channelKey",
                self.channel.as_ref().map(|channel| json!(channel)),
            ),
            ("start", self.start.as_ref().map(|start| json!(start))),
            ("mode", self.mode.as_ref().map(|mode| json!(mode))),
            ("deadlineAt", self.deadline.map(|instant| json!(instant))),
        ];
        for (member, value) in given {
            if let Some(value) = value {
                body.insert(member.to_owned(), value);
            }
        }
        if let Some(draft) = &self.draft {
            let draft = object_given(draft, "--draft")?;
            body.insert("draft".to_owned(), Value::Object(draft));
        }
        if self.playbook.is_some() || !self.params.is_empty() {
            let metadata = body.entry("metadata").or_insert_with(|| json!({}));
            let Value::Object(metadata) = metadata else {
                return Err(Failure::Usage(
                    "`metadata` in the file is not an object".to_owned(),
                ));
            };
            if let Some(playbook) = &self.playbook {
                metadata.insert("playbook".to_owned(), json!(playbook));
            }
            let params = metadata.entry("params").or_insert_with(|| json!({}));
            if let Value::Object(params) = params {
                params.extend(self.params.iter().cloned());
            }
        }
        Ok(body)
    }
}

/// A JSON object: a file, `-` for standard input, or the JSON itself, which is called `name`.
pub fn object_given(given: &str, name: &str) -> Result<Map<String, Value>, Failure> {
    if given.trim_start().starts_with('{') {
        return object(given, name);
    }
    if given == "-" {
        let mut text = String::new();
        stdin()
            .read_to_string(&mut text)
            .map_err(|error| Failure::Usage(format!("cannot read standard input: {error}")))?;
        return object(&text, "standard input");
    }
    object(&read(Path::new(given))?, given)
}

fn words(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("say what is asked for".to_owned());
    }
    Ok(text.to_owned())
}

fn parameter(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| "write it as `name=text` or `name:=JSON`".to_owned())?;
    match name.strip_suffix(':') {
        Some(name) => match serde_json::from_str(value) {
            Ok(value) => Ok((name.to_owned(), value)),
            Err(error) => Err(format!("`{value}` is not JSON: {error}")),
        },
        None => Ok((name.to_owned(), json!(value))),
    }
}

fn object(text: &str, name: &str) -> Result<Map<String, Value>, Failure> {
    serde_json::from_str(text)
        .map_err(|error| Failure::Usage(format!("`{name}` is not a JSON object: {error}")))
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("cannot read `{}`: {error}", path.display())))
}
