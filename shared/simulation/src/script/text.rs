//! A script as text: written, and read back.

use std::{collections::BTreeMap, fmt, str::FromStr};

use contracts::{
    event::{EventName, Service},
    plan::Mode,
};

use super::{
    Action, Again, Bundle, Control, Ending, INSTANCES, Instance, Name, Person, Plan, Point, Script,
    Shown, Skill, Submit, Timed, Vote, When, Wire, Workers,
};

/// A line that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct InvalidScript {
    line: usize,
    why: String,
}

/// Words for the values of an enum, each way.
macro_rules! words {
    ($($type:ident { $($word:literal = $value:ident),+ $(,)? })+) => {$(
        impl $type {
            pub const ALL: &[Self] = &[$(Self::$value),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$value => $word),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$value),)+
                    _ => Err(format!("`{text}` is none of {}", [$($word),+].join(", "))),
                }
            }
        }
    )+};
}

words! {
    Wire { "prompt" = Prompt, "noisy" = Noisy }
    Workers { "honest" = Honest, "moody" = Moody }
    Again { "held" = Held, "everything" = Everything }
    Ending { "answered" = Answered, "silence" = Silence }
    Shown {
        "everything" = Everything,
        "nothing" = Nothing,
        "other-plan" = OtherPlan,
        "other-inputs" = OtherInputs,
        "other-block" = OtherBlock,
    }
    Point {
        "now" = Now,
        "before-append" = BeforeAppend,
        "after-append" = AfterAppend,
        "before-dispatch" = BeforeDispatch,
        "after-dispatch" = AfterDispatch,
        "before-arm" = BeforeArm,
        "after-arm" = AfterArm,
        "before-ack" = BeforeAck,
    }
    Person {
        "ada" = Ada,
        "bob" = Bob,
        "grace" = Grace,
        "heidi" = Heidi,
        "pat" = Pat,
        "root" = Root,
        "bot" = Bot,
        "walt" = Walt,
    }
    Plan {
        "echo" = Echo,
        "chain" = Chain,
        "pair" = Pair,
        "change" = Change,
        "pay" = Pay,
        "erase" = Erase,
        "wait" = Wait,
        "retry" = Retry,
        "wide" = Wide,
        "mail" = Mail,
        "later" = Later,
        "forbidden" = Forbidden,
        "broken" = Broken,
        "playbook" = Playbook,
        "absent" = Absent,
    }
    Control {
        "pause-run" = Pause,
        "resume-run" = Resume,
        "retry-run" = Retry,
        "abort-run" = Abort,
    }
    Bundle { "base" = Base, "strict" = Strict, "closed" = Closed, "broken" = Broken }
    Skill { "shop" = Shop, "shop-2" = Shop2, "mail" = Mail, "forged" = Forged }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix('e').and_then(|rest| rest.parse().ok());
        number
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no execution such as `e1`"))
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.service, self.number)
    }
}

impl FromStr for Instance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        INSTANCES
            .into_iter()
            .find(|instance| instance.to_string() == text)
            .ok_or_else(|| format!("`{text}` is no process such as `{}-1`", Service::Executor))
    }
}

fn parse_mode(text: &str) -> Result<Mode, String> {
    Mode::ALL
        .into_iter()
        .find(|mode| mode.as_str() == text)
        .ok_or_else(|| format!("`{text}` is none of autonomous, assist, observe"))
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "world seed={} wire={} workers={} ending={} streams={}",
            self.seed, self.wire, self.workers, self.ending, self.streams
        )?;
        for Timed { when, action } in &self.actions {
            writeln!(f, "{when} {action}")?;
        }
        Ok(())
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = match self {
            Self::At(ms) => *ms,
            Self::After { of, event, ms } => {
                write!(f, "{of}/{event}+")?;
                *ms
            }
        };
        write!(f, "{}.{:03}", ms / 1000, ms % 1000)
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid =
            || format!("`{text}` is no instant such as `1.250` or `e1/plan.verified+0.250`");
        let ms = |text: &str| {
            let (s, ms) = text.split_once('.').filter(|(_, ms)| ms.len() == 3)?;
            Some(s.parse::<u64>().ok()? * 1000 + ms.parse::<u64>().ok()?)
        };
        let Some((of, rest)) = text.split_once('/') else {
            return ms(text).map(Self::At).ok_or_else(invalid);
        };
        let (event, after) = rest.split_once('+').ok_or_else(invalid)?;
        let is_named = |name: &EventName| name.as_str() == event;
        let event = EventName::ALL.into_iter().find(is_named);
        Ok(Self::After {
            of: of.parse()?,
            event: event.ok_or_else(invalid)?,
            ms: ms(after).ok_or_else(invalid)?,
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submit(submit) => {
                let Submit {
                    name,
                    by,
                    plan,
                    keyed,
                    by_hand,
                    mode: asked,
                    deadline_ms,
                    via,
                } = submit;
                write!(f, "submit {name} plan={plan} by={by} via={via}")?;
                if *keyed {
                    f.write_str(" keyed=yes")?;
                }
                if *by_hand {
                    f.write_str(" by-hand=yes")?;
                }
                if *asked != Mode::Autonomous {
                    write!(f, " mode={asked}")?;
                }
                if let Some(ms) = deadline_ms {
                    write!(f, " deadline={ms}")?;
                }
                Ok(())
            }
            Self::Repeat {
                of,
                other_body,
                via,
            } => {
                let body = if *other_body { "other" } else { "same" };
                write!(f, "repeat {of} body={body} via={via}")
            }
            Self::OfferDraft { of, plan, via } => {
                write!(f, "offer-draft {of} plan={plan} via={via}")
            }
            Self::AskPlan { of, via } => write!(f, "ask-plan {of} via={via}"),
            Self::Vote(vote) => {
                let verb = if vote.approves { "approve" } else { "reject" };
                write!(
                    f,
                    "{verb} {} by={} thinks={} shows={} via={}",
                    vote.of, vote.by, vote.thinks_ms, vote.shows, vote.via
                )
            }
            Self::Cancel { of, by, via } => write!(f, "cancel {of} by={by} via={via}"),
            Self::Start {
                of,
                mode: asked,
                via,
            } => {
                write!(f, "start {of}")?;
                if let Some(asked) = asked {
                    write!(f, " mode={asked}")?;
                }
                write!(f, " via={via}")
            }
            Self::Verify { of, via } => write!(f, "verify {of} via={via}"),
            Self::Control { of, what, via } => write!(f, "{what} {of} via={via}"),
            Self::Activate { bundle, via } => write!(f, "activate {bundle} via={via}"),
            Self::Install { skill, via } => write!(f, "install {skill} via={via}"),
            Self::Disable { skill, via } => write!(f, "disable {skill} via={via}"),
            Self::Crash { who, at } => write!(f, "crash {who} at={at}"),
            Self::Pause { who, ms } => write!(f, "pause {who} for={ms}"),
            Self::Restart { who } => write!(f, "restart {who}"),
            Self::StepClock { who, ms } => write!(f, "step-clock {who} by={ms}"),
            Self::Outage { ms } => write!(f, "outage for={ms}"),
            Self::Full { ms } => write!(f, "full for={ms}"),
            Self::LoseAnswers { who, count } => write!(f, "lose-answers {who} count={count}"),
            Self::LoseAcks { who, count } => write!(f, "lose-acks {who} count={count}"),
            Self::DeliverAgain { what } => write!(f, "deliver-again what={what}"),
            Self::Lag { events } => write!(f, "lag events={events}"),
            Self::Reconnect => f.write_str("reconnect"),
            Self::Jump { ms } => write!(f, "jump for={ms}"),
        }
    }
}

impl FromStr for Script {
    type Err = InvalidScript;

    /// Empty lines, and lines that begin with `#`, say nothing.
    fn from_str(text: &str) -> Result<Self, InvalidScript> {
        let mut lines = (1..)
            .zip(text.lines())
            .map(|(line, text)| (line, text.trim()))
            .filter(|(_, text)| !text.is_empty() && !text.starts_with('#'));
        let at = |line: usize| move |why: String| InvalidScript { line, why };
        let (line, head) = lines
            .next()
            .ok_or_else(|| at(1)("it begins with `world …`".to_owned()))?;
        let mut script = world(head).map_err(at(line))?;
        for (line, text) in lines {
            let timed = timed(text).map_err(at(line))?;
            if script
                .actions
                .last()
                .is_some_and(|last| last.when > timed.when)
            {
                return Err(at(line)("it is earlier than the line before it".to_owned()));
            }
            script.actions.push(timed);
        }
        Ok(script)
    }
}

/// A verb, whom or what it is about, and the rest by name.
struct Words<'a> {
    verb: &'a str,
    about: Option<&'a str>,
    named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let verb = words.next().ok_or("there is no verb")?;
        let mut about = None;
        let mut named = BTreeMap::new();
        for word in words {
            match word.split_once('=') {
                Some((name, value)) => {
                    named.insert(name, value);
                }
                None if about.is_none() => about = Some(word),
                None => return Err(format!("`{word}` has no name before it")),
            }
        }
        Ok(Self { verb, about, named })
    }

    fn about<T: FromStr<Err = String>>(&self) -> Result<T, String> {
        let about = self.about.ok_or_else(|| format!("`{}` what?", self.verb))?;
        about.parse()
    }

    fn text(&mut self, name: &str) -> Result<&'a str, String> {
        self.named
            .remove(name)
            .ok_or_else(|| format!("`{name}=` is missing"))
    }

    fn word<T: FromStr<Err = String>>(&mut self, name: &str) -> Result<T, String> {
        self.text(name)?.parse()
    }

    fn number<T: FromStr>(&mut self, name: &str) -> Result<T, String> {
        let text = self.text(name)?;
        text.parse()
            .map_err(|_| format!("`{name}={text}` is no number that fits"))
    }

    fn mode(&mut self) -> Result<Option<Mode>, String> {
        self.named.remove("mode").map(parse_mode).transpose()
    }

    fn yes(&mut self, name: &str) -> bool {
        self.named.remove(name) == Some("yes")
    }
}

fn world(text: &str) -> Result<Script, String> {
    let mut words = Words::of(text)?;
    if words.verb != "world" {
        return Err("it begins with `world …`".to_owned());
    }
    Ok(Script {
        seed: words.number("seed")?,
        wire: words.word("wire")?,
        workers: words.word("workers")?,
        ending: words.word("ending")?,
        streams: words.number("streams")?,
        actions: Vec::new(),
    })
}

fn timed(text: &str) -> Result<Timed, String> {
    let (at, rest) = text
        .split_once(' ')
        .ok_or("an instant, then what is done")?;
    let when = at.parse()?;
    let mut words = Words::of(rest)?;
    let action = action(&mut words)?;
    match words.named.keys().next() {
        Some(name) => Err(format!("`{}` has no `{name}=`", words.verb)),
        None => Ok(Timed { when, action }),
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "one arm for each verb, and no way to shorten the list"
)]
fn action(words: &mut Words<'_>) -> Result<Action, String> {
    Ok(match words.verb {
        "submit" => Action::Submit(Submit {
            name: words.about()?,
            by: words.word("by")?,
            plan: words.word("plan")?,
            keyed: words.yes("keyed"),
            by_hand: words.yes("by-hand"),
            mode: words.mode()?.unwrap_or(Mode::Autonomous),
            deadline_ms: words
                .named
                .contains_key("deadline")
                .then(|| words.number("deadline"))
                .transpose()?,
            via: words.number("via")?,
        }),
        "repeat" => Action::Repeat {
            of: words.about()?,
            other_body: words.text("body")? == "other",
            via: words.number("via")?,
        },
        "offer-draft" => Action::OfferDraft {
            of: words.about()?,
            plan: words.word("plan")?,
            via: words.number("via")?,
        },
        "ask-plan" => Action::AskPlan {
            of: words.about()?,
            via: words.number("via")?,
        },
        verb @ ("approve" | "reject") => Action::Vote(Vote {
            of: words.about()?,
            approves: verb == "approve",
            by: words.word("by")?,
            thinks_ms: words.number("thinks")?,
            shows: words.word("shows")?,
            via: words.number("via")?,
        }),
        "cancel" => Action::Cancel {
            of: words.about()?,
            by: words.word("by")?,
            via: words.number("via")?,
        },
        "start" => Action::Start {
            of: words.about()?,
            mode: words.mode()?,
            via: words.number("via")?,
        },
        "verify" => Action::Verify {
            of: words.about()?,
            via: words.number("via")?,
        },
        verb @ ("pause-run" | "resume-run" | "retry-run" | "abort-run") => Action::Control {
            of: words.about()?,
            what: verb.parse()?,
            via: words.number("via")?,
        },
        "activate" => Action::Activate {
            bundle: words.about()?,
            via: words.number("via")?,
        },
        "install" => Action::Install {
            skill: words.about()?,
            via: words.number("via")?,
        },
        "disable" => Action::Disable {
            skill: words.about()?,
            via: words.number("via")?,
        },
        "crash" => Action::Crash {
            who: words.about()?,
            at: words.word("at")?,
        },
        "pause" => Action::Pause {
            who: words.about()?,
            ms: words.number("for")?,
        },
        "restart" => Action::Restart {
            who: words.about()?,
        },
        "step-clock" => Action::StepClock {
            who: words.about()?,
            ms: words.number("by")?,
        },
        "outage" => Action::Outage {
            ms: words.number("for")?,
        },
        "full" => Action::Full {
            ms: words.number("for")?,
        },
        "lose-answers" => Action::LoseAnswers {
            who: words.about()?,
            count: words.number("count")?,
        },
        "lose-acks" => Action::LoseAcks {
            who: words.about()?,
            count: words.number("count")?,
        },
        "deliver-again" => Action::DeliverAgain {
            what: words.word("what")?,
        },
        "lag" => Action::Lag {
            events: words.number("events")?,
        },
        "reconnect" => Action::Reconnect,
        "jump" => Action::Jump {
            ms: words.number("for")?,
        },
        verb => return Err(format!("`{verb}` is nothing that can be done")),
    })
}
