//! `policy activate|explain|default`

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use contracts::{
    bundle::{Bundle, Trust},
    ids::{ExecutionId, StepId},
    operations::policy::{
        ActivateInput, ActivateOutput, ExplainInput, ExplainOutput, Reevaluation,
    },
    registry::OperationName,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    api::Api,
    command::Global,
    failure::Failure,
    screen::{Screen, count, plain, pretty, quoted},
};

/// The file of a bundle's directory that holds what is not Cedar.
const SETTINGS_FILE: &str = "bundle.json";

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a bundle the one that decides
    Activate {
        /// A directory of `*.cedar` and `bundle.json` (thresholds, trust), or a whole bundle as
        /// one JSON file
        bundle: PathBuf,
    },
    /// Say why the verdict on a plan or a step is what it is
    Explain {
        /// Its id
        execution: ExecutionId,
        /// One step; the whole plan where it is left out
        step: Option<StepId>,
        /// With what the policies saw
        #[arg(long)]
        facts: bool,
    },
    /// The bundle that comes with this build
    Default {
        /// Write it into this directory, to be changed and activated
        #[arg(long, value_name = "DIR")]
        write: Option<PathBuf>,
    },
}

pub async fn run(command: Command, global: &Global) -> Result<(), Failure> {
    match command {
        Command::Activate { bundle } => {
            let session = global.session("admin")?;
            let bundle = read(&bundle)?;
            let screen = session.screen;
            for warning in warnings(&bundle) {
                screen.line(&screen.waiting(warning));
            }
            let output = activate(&session.api, bundle).await?;
            screen.answer(&output, || {
                format!("{}  {}", screen.good("activated"), output.hash)
            });
            Ok(())
        }
        Command::Explain {
            execution,
            step,
            facts,
        } => {
            let session = global.session("admin")?;
            let output = explain(&session.api, execution, step).await?;
            let screen = session.screen;
            screen.answer(&output, || explained(screen, &output, facts));
            Ok(())
        }
        Command::Default { write } => default(global, write.as_deref()),
    }
}

/// What a bundle lacks and may lack, so that it is not by mistake.
fn warnings(bundle: &Bundle) -> impl Iterator<Item = &'static str> {
    let policies = bundle.policies.is_empty();
    let policies = policies.then_some("this bundle has no policy: everything is denied under it");
    let trust = bundle.trust.publishers.is_empty();
    let trust =
        trust.then_some("this bundle trusts no publisher: no skill can be installed under it");
    policies.into_iter().chain(trust)
}

pub async fn activate(api: &Api, bundle: Bundle) -> Result<ActivateOutput, Failure> {
    let input = ActivateInput {
        bundle,
        activated_by: None,
    };
    api.ask(OperationName::PolicyActivate, &input).await
}

pub async fn explain(
    api: &Api,
    execution_id: ExecutionId,
    step_id: Option<StepId>,
) -> Result<ExplainOutput, Failure> {
    let input = ExplainInput {
        execution_id,
        step_id,
        at_least: None,
    };
    api.ask(OperationName::PolicyExplain, &input).await
}

fn explained(screen: Screen, output: &ExplainOutput, facts: bool) -> String {
    let mut lines = vec![format!(
        "{} {}, risk {}",
        screen.bold("verdict    "),
        screen.state(output.verdict.as_str()),
        screen.state(output.risk_tier.as_str())
    )];
    for reason in output.reasons.iter().flatten() {
        lines.push(format!("{} {}", screen.bold("reason     "), plain(reason)));
    }
    lines.push(format!(
        "{} {}",
        screen.bold("bundle     "),
        plain(&output.policy_version)
    ));
    if let Some(again) = &output.reevaluation {
        lines.push(format!(
            "{} {}",
            screen.bold("again      "),
            judged_again(screen, again)
        ));
    }
    for policy in output.policies.iter().flatten() {
        lines.push(String::new());
        lines.push(screen.bold(&plain(&policy.id)));
        for (name, said) in policy.annotations.iter().flatten() {
            lines.push(screen.faint(&format!("  @{}: {}", plain(name), plain(said))));
        }
        for line in policy.text.as_deref().unwrap_or_default().lines() {
            lines.push(format!("  {}", plain(line)));
        }
    }
    if let Some(seen) = output.facts.as_ref().filter(|_| facts) {
        lines.push(String::new());
        lines.push(screen.bold("facts"));
        lines.push(pretty(&Value::Object(seen.clone()), "  "));
    }
    lines.join("\n")
}

fn judged_again(screen: Screen, again: &Reevaluation) -> String {
    match (again.same, &again.reason) {
        (Some(true), _) => screen.good("the same comes out of the recorded facts"),
        (Some(false), _) => {
            let verdict = again.verdict.map_or("", |verdict| verdict.as_str());
            let steps = again.steps.iter().flatten();
            let steps: Vec<_> = steps.map(ToString::to_string).collect();
            screen.alert(&format!(
                "it comes out otherwise: {verdict} {}",
                steps.join(", ")
            ))
        }
        (None, reason) => plain(reason.as_deref().unwrap_or("it cannot be told")),
    }
}

/// The default bundle, with the keys of this control plane's publishers as its trust.
fn default(global: &Global, write: Option<&Path>) -> Result<(), Failure> {
    let screen = global.screen();
    let mut bundle = ::policy::shipped::default_bundle();
    let keys = global.context().ok().and_then(|context| context.keys);
    if let Some(keys) = keys {
        bundle.trust = crate::skill::signing::trust_of(&keys)?;
    }
    let Some(directory) = write else {
        screen.answer(&bundle, || {
            let policies = bundle.policies.iter();
            let texts: Vec<_> = policies
                .map(|(name, text)| format!("// {name}\n{text}"))
                .collect();
            texts.join("\n")
        });
        return Ok(());
    };
    let taken = bundle.policies.keys().map(String::as_str);
    let mut taken = taken
        .chain([SETTINGS_FILE])
        .filter(|name| directory.join(name).exists());
    if let Some(name) = taken.next() {
        return Err(Failure::Usage(format!(
            "`{}` is there already, and may have been changed: name another directory",
            directory.join(name).display()
        )));
    }
    let written = write_to(directory, &bundle);
    written.map_err(|error| {
        Failure::Other(anyhow::Error::new(error).context(format!(
            "cannot write the bundle into `{}`",
            directory.display()
        )))
    })?;
    let report =
        json!({ "directory": directory, "policies": bundle.policies.keys().collect::<Vec<_>>() });
    screen.answer(&report, || {
        format!(
            "wrote {} and {SETTINGS_FILE} into {}\nchange them, then: {} policy activate {}",
            count(bundle.policies.len() as u64, "policy"),
            directory.display(),
            global.typed(),
            quoted(&directory.to_string_lossy())
        )
    });
    Ok(())
}

fn write_to(directory: &Path, bundle: &Bundle) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    for (name, text) in &bundle.policies {
        fs::write(directory.join(name), text)?;
    }
    let settings = json!({ "thresholds": bundle.thresholds, "trust": bundle.trust });
    let text = serde_json::to_string_pretty(&settings)?;
    fs::write(directory.join(SETTINGS_FILE), text + "\n")
}

/// What `bundle.json` may hold beside the policies.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Settings {
    schema: String,
    thresholds: BTreeMap<String, i64>,
    trust: Trust,
}

fn read(path: &Path) -> Result<Bundle, Failure> {
    if !path.is_dir() {
        return parsed(path);
    }
    let unreadable = |error| {
        Failure::Usage(format!(
            "cannot read the directory `{}`: {error}",
            path.display()
        ))
    };
    let settings_file = path.join(SETTINGS_FILE);
    let Settings {
        schema,
        thresholds,
        trust,
    } = if settings_file.exists() {
        parsed(&settings_file)?
    } else {
        Settings::default()
    };
    let mut policies = BTreeMap::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "cedar")
        {
            let name = file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            policies.insert(name, text_of(&file)?);
        }
    }
    Ok(Bundle {
        schema,
        policies,
        thresholds,
        trust,
    })
}

fn parsed<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    serde_json::from_str(&text_of(path)?)
        .map_err(|error| Failure::Usage(format!("`{}` cannot be used: {error}", path.display())))
}

fn text_of(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("cannot read `{}`: {error}", path.display())))
}
