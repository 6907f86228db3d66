//! `demo`: a control plane, a worker and five intents, on real processes, told as it happens.
//!
//! * [`script`]: what is to happen, from `deploy/demo`
//! * [`worker`]: the Python worker as a child
//! * [`story`]: one intent from its words to its end

pub mod script;
pub mod story;
pub mod worker;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use contracts::{ids::ExecutionId, problem::Code};
use serde_json::json;
use skills::signature::Validity;

use self::{
    script::Script,
    story::{Cast, Told},
};
use crate::{
    api::{Api, Over},
    command::Global,
    context::{Context, NatsTls},
    failure::Failure,
    log,
    replay::{Selection, Source},
    screen::{Screen, count},
    skill,
    up::{self, Stop, child::Children, directory::Directory},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// End by itself, and fail unless everything ended as it should; everything is kept in a
    /// temporary directory unless `--data` names one
    #[arg(long)]
    once: bool,
    /// Where everything is kept [default: .control-plane]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The case that is played
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/demo"), hide_default_value = true)]
    demo_dir: PathBuf,
    /// The nats-server to start; else the one on PATH if it is 2.12 or newer, else it is obtained
    #[arg(
        long,
        value_name = "FILE",
        env = "CONTROL_PLANE_NATS_SERVER",
        hide_env_values = true
    )]
    nats_server: Option<PathBuf>,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let screen = global.screen();
    let script = Script::read(&args.demo_dir)?;
    let stop = Stop::on_signals()?;
    // Removed when this ends.
    let temporary = match (&args.data, args.once) {
        (None, true) => Some(
            tempfile::Builder::new()
                .prefix("control-plane-demo-")
                .tempdir()
                .context("cannot make a temporary directory")?,
        ),
        (Some(_), _) | (None, false) => None,
    };
    let data = match (&args.data, &temporary) {
        (Some(data), _) => data.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => PathBuf::from(".control-plane"),
    };
    let up_args = up_args(&args, &script, &data);
    let directory = Directory::open(&data)?;
    let mut children = Children::new(screen, stop.hurry());
    let ended = stop
        .unless(Box::pin(async {
            let stage = Stage::set(&script, &directory, &up_args, screen, &mut children).await?;
            let missed = stage.play().await?;
            let judged = verdict(screen, &script, &missed);
            if args.once {
                return judged;
            }
            let waiting = stage.one_more().await?;
            what_next(screen, &stage, global, waiting);
            Ok(())
        }))
        .await;
    if ended.is_ok() && !args.once {
        stop.wait().await;
    }
    up::finish(&directory, screen, children).await;
    ended
}

/// What the intents are played on.
struct Stage<'a> {
    script: &'a Script,
    directory: &'a Directory,
    context: Context,
    cast: Cast,
    screen: Screen,
}

impl<'a> Stage<'a> {
    /// A control plane, the worker, and its skills.
    async fn set(
        script: &'a Script,
        directory: &'a Directory,
        up_args: &up::Args,
        screen: Screen,
        children: &mut Children,
    ) -> Result<Self, Failure> {
        let plane = up::start(directory, up_args, screen, children).await?;
        worker::start(script, directory, &plane, screen, children).await?;
        let stage = Self {
            script,
            directory,
            cast: Cast::of(&plane.context)?,
            context: plane.context,
            screen,
        };
        stage.install_skills().await?;
        Ok(stage)
    }

    async fn install_skills(&self) -> Result<(), Failure> {
        let admin = Api::new(&self.context, "admin", Over::Http)?;
        let publisher = &self.script.publisher;
        let key = self.directory.keys().join(format!("{publisher}.pem"));
        let artifact = skill::digest_of(&self.script.worker_program())?;
        for manifest in &self.script.manifests {
            let signed = skill::signing::signed(manifest, &key, Validity::default())?;
            let output = skill::install(&admin, signed, artifact.clone())
                .await
                .map_err(|failure| self.of_another_build(failure))?;
            let text = format!(
                "{}@{}, signed by {publisher}: {}",
                output.skill_key,
                output.version,
                output.status.as_str()
            );
            self.screen.note("skill", &text);
        }
        Ok(())
    }

    /// A version that is installed never changes, but the demonstration may have.
    fn of_another_build(&self, failure: Failure) -> Failure {
        match &failure {
            Failure::Refused(refusal) if refusal.code == Code::SkillVersionConflict.as_str() => {
                Failure::Unsuccessful(format!(
                    "`{}` was made by another build, with other skills: remove it, or name another \
                     directory with `--data`",
                    self.directory.root().display()
                ))
            }
            Failure::Refused(_)
            | Failure::Unsuccessful(_)
            | Failure::Usage(_)
            | Failure::Unreachable { .. }
            | Failure::Undecided(_)
            | Failure::Interrupted
            | Failure::Other(_) => failure,
        }
    }

    /// All intents, one after the other, and then everything decided again; what did not come
    /// out as it should.
    async fn play(&self) -> Result<Vec<String>, Failure> {
        let mut missed = Vec::new();
        let number = self.script.intents.len();
        for (index, scene) in self.script.intents.iter().enumerate() {
            let heading = format!("{} of {number}: {}", index + 1, scene.title);
            self.screen
                .line(&format!("\n{}", self.screen.bold(&heading)));
            let told = story::tell(self.script, scene, &self.cast, self.screen).await?;
            missed.extend(differences(scene, &told));
        }
        missed.extend(self.replay().await?);
        Ok(missed)
    }

    async fn replay(&self) -> Result<Option<String>, Failure> {
        let heading = "Replay: everything is decided again, from the log";
        self.screen
            .line(&format!("\n{}", self.screen.bold(heading)));
        let journal = log::open(&self.context).await?;
        let report = log::again(Source::Journal(Arc::clone(&journal)), &Selection::All).await;
        journal.close().await;
        let report = report?;
        self.screen.answer(&report, || {
            format!("  {}", report.to_string().trim_end().replace('\n', "\n  "))
        });
        Ok(match report.exit_code() {
            0 => None,
            _ => Some("replay: not everything comes out as it is recorded".to_owned()),
        })
    }

    /// An intent that stays waiting, for the person to decide on.
    async fn one_more(&self) -> Result<Option<ExecutionId>, Failure> {
        let waits = self.script.intents.iter().find(|scene| {
            let vote = scene.votes.first();
            vote.is_some_and(|vote| vote.vote == script::Answer::Approve)
        });
        let Some(scene) = waits else { return Ok(None) };
        let execution = story::submit(self.script, scene, &self.cast).await?;
        let waits = story::is_blocked(&self.cast, execution).await?;
        Ok(waits.then_some(execution))
    }
}

fn up_args(args: &Args, script: &Script, data: &Path) -> up::Args {
    // A demonstration that ends by itself is in nobody's way: it listens on any free port.
    up::Args {
        data: data.to_owned(),
        nats_url: None,
        nats_tls: NatsTls::default(),
        nats_passwords: None,
        nats_server: args.nats_server.clone(),
        streams: None,
        durability: None,
        listen: args.once.then_some(up::ANY_ADDRESS),
        encryption: up::Encryption::default(),
        workspace: Some(script.workspace_id.clone()),
        serves: script.entry_points(),
        republish: None,
        trust: vec![script.publisher.clone()],
    }
}

fn differences(scene: &script::Scene, told: &Told) -> Vec<String> {
    let expect = &scene.expect;
    let mut differences = Vec::new();
    let mut compare = |what: &str, wanted: String, found: String| {
        if wanted != found {
            let title = &scene.title;
            differences.push(format!(
                "{title}: the {what} is {found} instead of {wanted}"
            ));
        }
    };
    compare(
        "status",
        expect.status.to_string(),
        told.record.status.to_string(),
    );
    if let Some(wanted) = expect.verdict {
        let found = told
            .record
            .verdict
            .map_or("none", |verdict| verdict.as_str());
        compare("verdict", wanted.as_str().to_owned(), found.to_owned());
    }
    if let Some(wanted) = &expect.error_code {
        let found = told
            .record
            .failure
            .as_ref()
            .map(|failure| failure.code.clone());
        compare(
            "error",
            wanted.clone(),
            found.unwrap_or_else(|| "none".to_owned()),
        );
    }
    if let Some(wanted) = &expect.findings {
        let mut wanted = wanted.clone();
        let findings = told.record.findings.iter().flatten();
        let mut found: Vec<_> = findings.map(|finding| finding.code.clone()).collect();
        wanted.sort();
        found.sort();
        compare("list of findings", wanted.join(", "), found.join(", "));
    }
    compare(
        "number of votes",
        scene.votes.len().to_string(),
        told.votes.to_string(),
    );
    differences
}

fn verdict(screen: Screen, script: &Script, missed: &[String]) -> Result<(), Failure> {
    for difference in missed {
        screen.note("differs", difference);
    }
    if missed.is_empty() {
        let text = match script.intents.len() as u64 {
            1 => "the one intent ended as it should".to_owned(),
            number => format!("all {} ended as they should", count(number, "intent")),
        };
        screen.note("demo", &text);
        Ok(())
    } else {
        Err(Failure::Unsuccessful(match missed.len() {
            1 => "one thing is not as it should be".to_owned(),
            number => format!("{number} things are not as they should be"),
        }))
    }
}

fn what_next(screen: Screen, stage: &Stage<'_>, global: &Global, waiting: Option<ExecutionId>) {
    let typed = global.typed_for(&stage.directory.context());
    let report = json!({
        "topic": "up",
        "context": stage.directory.context(),
        "waiting": waiting,
    });
    screen.answer(&report, || {
        let mut lines = vec![
            String::new(),
            screen.good("Everything stays up until Ctrl-C. In another terminal:"),
        ];
        let mut say = |what: &str, command: String| {
            lines.push(format!("  {}\n    {typed} {command}", screen.faint(what)));
        };
        if let Some(id) = waiting {
            say(
                "one more refund waits for you, the approver",
                format!("execution approve {id}"),
            );
            say(
                "and after that the mail to the customer",
                format!("execution approve {id}"),
            );
            say("see it go on", format!("execution watch {id}"));
            say("why it had to wait", format!("policy explain {id} refund"));
        }
        say("everything that was asked", "execution list".to_owned());
        say(
            "ask for something yourself",
            "intent submit \"Please refund order 1002\" --param orderId=1002 --param \
             amountMinor:=500 --param currency=EUR --param reason=late --watch"
                .to_owned(),
        );
        lines.join("\n")
    });
}
